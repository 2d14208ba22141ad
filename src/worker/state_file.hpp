#pragma once
// Small files beside the server's statistics, which nothing needs for being right: written aside, flushed and put in the place of the old
// one, so there is always a whole one; a checksum, the number of this very cluster and sizes tell one that is not ours.

#include "pg/pg.hpp"

#include "base/span.hpp"

namespace tandem::worker {

struct StateFile {
  const char* path;
  const char* path_aside;
  uint64 magic;
  uint32 version;    ///< of what it holds
  bool is_secret;    ///< for the server's own user alone, whoever may read its other files
  const char* loss;  ///< what it means to have no new one, or none: a sentence
};

/// What goes wrong is logged.
void WriteStateFile(const StateFile& file, base::Span<const char> content);

/// If there is one.
void RemoveStateFile(const StateFile& file);

/// In the current memory context. Empty if there is none; one that is not sound is empty, too, with a line in the log, as is one of more than
/// `most` bytes.
[[nodiscard]] base::Span<const char> ReadStateFile(const StateFile& file, Size most);

}  // namespace tandem::worker
