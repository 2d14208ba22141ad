-- Beside churn.sql: frees the dead rows' places, so that new rows take over their TIDs.
VACUUM items;
