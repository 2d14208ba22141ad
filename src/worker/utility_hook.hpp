#pragma once
// Commands that other processes' connections stand in the way of.

namespace tandem::worker {

/// Sends a database's worker away before the command: DROP DATABASE, ALTER DATABASE … RENAME and SET TABLESPACE, CREATE DATABASE …
/// TEMPLATE wait 5 s for connections to end and then fail (H26). During preload only.
void InstallUtilityHook();

}  // namespace tandem::worker
