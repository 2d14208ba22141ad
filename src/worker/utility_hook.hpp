#pragma once
// Commands that concern the workers.

namespace tandem::worker {

/// Sends a database's worker away before the command: DROP DATABASE, ALTER DATABASE … RENAME and SET TABLESPACE, CREATE DATABASE …
/// TEMPLATE wait 5 s for connections to end and then fail (H26). Tells afterwards of what workers could not see by themselves:
/// ALTER INDEX … SET, COMMIT PREPARED, a database that was copied or admits workers again. During preload only.
void InstallUtilityHook();

}  // namespace tandem::worker
