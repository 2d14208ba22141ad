SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA progress;
RESET client_min_messages;
SET search_path = progress, public;

-- The phases of CREATE INDEX that pg_stat_progress_create_index shows by name.

SELECT phase, pg_indexam_progress_phasename(a.oid, phase) AS name
FROM pg_am AS a, generate_series(0, 5) AS phase WHERE a.amname = 'tandem' ORDER BY phase;

SET client_min_messages = warning;
DROP SCHEMA progress CASCADE;
