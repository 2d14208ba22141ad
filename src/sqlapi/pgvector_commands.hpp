#pragma once
// Commands that meant pgvector.

namespace tandem::sqlapi {

/// CREATE INDEX … USING hnsw makes a tandem index if tandem.redirect_hnsw says so and pgvector is not there; extensions that would
/// want the same names in one schema are refused with a hint. When the module is loaded.
void InstallPgvectorCommands();

}  // namespace tandem::sqlapi
