SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS tandem;
CREATE SCHEMA privileges;
RESET client_min_messages;
SET search_path = privileges, public;

-- An index lends nobody rights that they do not have.

CREATE TABLE items (id int, secret text, v vector(2));
INSERT INTO items SELECT i, 'secret ' || i, ARRAY[i, 1]::vector FROM generate_series(1, 20) AS i;
CREATE ROLE regress_tandem_owner;
CREATE ROLE regress_tandem_user;
GRANT USAGE, CREATE ON SCHEMA privileges TO regress_tandem_owner, regress_tandem_user;
ALTER TABLE items OWNER TO regress_tandem_owner;

-- The table's owner needs nothing more to make an index and to change it.
SET ROLE regress_tandem_owner;
CREATE INDEX items_l2 ON items USING tandem (v vector_l2_ops);
ALTER INDEX items_l2 SET (strategy = 'flat');
REINDEX INDEX items_l2;
VACUUM items;
SET enable_seqscan = off;
SELECT id FROM items ORDER BY v <-> '[3,1]' LIMIT 2;

-- Others: not even by name, then by column.
SET ROLE regress_tandem_user;
SELECT id FROM items ORDER BY v <-> '[3,1]' LIMIT 1;
CREATE INDEX ON items USING tandem (v vector_ip_ops);
ALTER INDEX items_l2 SET (strategy = 'flat');
DROP INDEX items_l2;
SET ROLE regress_tandem_owner;
GRANT SELECT (id) ON items TO regress_tandem_user;
SET ROLE regress_tandem_user;
SELECT id FROM items ORDER BY v <-> '[3,1]' LIMIT 1;
SET ROLE regress_tandem_owner;
GRANT SELECT (id, v) ON items TO regress_tandem_user;
GRANT INSERT ON items TO regress_tandem_user;
SET ROLE regress_tandem_user;
SELECT id FROM items ORDER BY v <-> '[3,1]' LIMIT 1;
SELECT secret FROM items ORDER BY v <-> '[3,1]' LIMIT 1;
INSERT INTO items VALUES (21, 'mine', '[3,1.1]');
SELECT id FROM items ORDER BY v <-> '[3,1]' LIMIT 2;
RESET ROLE;

-- Functions of an index run as the table's owner, whoever makes them run: REINDEX, VACUUM, tandem_verify. An owner
-- who plants a function gets no administrator's rights by it.
CREATE TABLE trace (who name);
GRANT INSERT, SELECT ON trace TO PUBLIC;
SET ROLE regress_tandem_owner;
CREATE FUNCTION tell() RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO privileges.trace VALUES (current_user); END $$;
CREATE FUNCTION note(v vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM privileges.tell();
  RETURN v;
END $$;
CREATE FUNCTION note(id int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  PERFORM privileges.tell();
  RETURN true;
END $$;
CREATE TABLE hostile (id int, v vector(2));
INSERT INTO hostile VALUES (1, '[1,1]');
CREATE INDEX hostile_note ON hostile USING tandem ((note(v)::vector(2)) vector_l2_ops) WHERE note(id);
RESET ROLE;
REINDEX INDEX hostile_note;
VACUUM ANALYZE hostile;
SELECT * FROM tandem_verify('hostile_note');
SELECT * FROM tandem_verify('hostile_note', true);
SELECT who, count(*) > 2 AS several FROM trace GROUP BY who;
SELECT current_user = session_user AS still_oneself;

-- Graphs are built from the index alone: nobody's function runs.
SET ROLE regress_tandem_owner;
ALTER INDEX hostile_note SET (strategy = 'hnsw_batch');
RESET ROLE;
DELETE FROM trace;
CALL tandem_build('hostile_note');
SELECT indexed_rows FROM tandem_index_stats WHERE indexname = 'hostile_note';
SELECT count(*) FROM trace;
VACUUM ANALYZE hostile;
SELECT who FROM trace GROUP BY who;
-- By the owner, or a superuser; not by somebody who may only use the table.
SET ROLE regress_tandem_owner;
CALL tandem_build('hostile_note');
CALL tandem_wait('hostile_note');
SELECT count(*) FROM tandem_segments('hostile_note');
GRANT ALL ON hostile TO regress_tandem_user;
SET ROLE regress_tandem_user;
CALL tandem_build('hostile_note');
CALL tandem_wait('hostile_note');
SELECT * FROM tandem_segments('hostile_note');
ALTER INDEX hostile_note SET (strategy = 'flat');
RESET ROLE;

DROP OWNED BY regress_tandem_user, regress_tandem_owner CASCADE;
DROP ROLE regress_tandem_user, regress_tandem_owner;

SET client_min_messages = warning;
DROP SCHEMA privileges CASCADE;
