#pragma once
// Commands that concern the workers.

namespace tandem::worker {

/// Sends a database's worker away before the command: DROP DATABASE, ALTER DATABASE … RENAME and SET TABLESPACE, CREATE DATABASE …
/// TEMPLATE wait 5 s for connections to end and then fail (H26). Tells it of ALTER INDEX … SET and COMMIT PREPARED
/// afterwards. During preload only.
void InstallUtilityHook();

}  // namespace tandem::worker
