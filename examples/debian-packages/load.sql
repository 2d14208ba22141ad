-- Loads what prepare.py wrote into the current folder. Run in an empty database, in one transaction:
--   psql -1 -v ON_ERROR_STOP=1 -f …/load.sql

CREATE EXTENSION tandem;

\ir schema.sql

\copy packages FROM 'packages.copy' (FORMAT binary)
\copy terms FROM 'terms.copy' (FORMAT binary)
\copy stop_words FROM 'stop_words.copy'

CREATE INDEX packages_embedding ON packages USING tandem (embedding vector_cosine_ops) WITH (strategy = flat);
CREATE INDEX packages_document ON packages USING gin (document);
CREATE INDEX packages_section ON packages (section);
CREATE INDEX packages_priority ON packages (priority);
CREATE INDEX packages_installed_size ON packages (installed_size);

ANALYZE packages, terms, stop_words;
