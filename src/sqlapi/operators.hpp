#pragma once
// The distance operators' functions, as the access method knows them.

namespace tandem::sqlapi {

/// Tells the access method which functions compute the very numbers that its searches do. When the module is loaded.
void RegisterOperators();

}  // namespace tandem::sqlapi
