#pragma once
// Read-only access to fvecs and ivecs files: per row an int32 width, then that many 4-byte values.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "base/span.hpp"

namespace tandem::bench {

using base::Span;

/// A mapped fvecs (T = float) or ivecs (T = int32_t) file whose rows all have the same width.
/// Little-endian hosts only, as the format is. Thread-safe after construction: reads only.
template <typename T>
class VectorFile {
  static_assert(sizeof(T) == 4, "fvecs and ivecs hold 4-byte values");

 public:
  /// Rows [offset, offset + limit) of the file; limit 0 means all that follow.
  /// Throws std::runtime_error when the file is missing, ragged or empty after the offset.
  explicit VectorFile(const std::string& path, std::size_t offset = 0, std::size_t limit = 0);
  ~VectorFile();
  VectorFile(const VectorFile&) = delete;
  VectorFile& operator=(const VectorFile&) = delete;

  [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
  [[nodiscard]] std::size_t width() const noexcept { return width_; }
  [[nodiscard]] Span<const T> row(std::size_t i) const noexcept {
    return {first_ + i * (width_ + 1) + 1, width_};
  }

 private:
  void* map_ = nullptr;
  std::size_t map_bytes_ = 0;
  const T* first_ = nullptr;  ///< the width field of the first row handed out
  std::size_t rows_ = 0;
  std::size_t width_ = 0;
};

extern template class VectorFile<float>;
extern template class VectorFile<std::int32_t>;

/// Writes rows of equal width, one call per row. Throws std::runtime_error when the disk is full.
template <typename T>
class VectorFileWriter {
  static_assert(sizeof(T) == 4, "fvecs and ivecs hold 4-byte values");

 public:
  explicit VectorFileWriter(const std::string& path);
  ~VectorFileWriter();
  VectorFileWriter(const VectorFileWriter&) = delete;
  VectorFileWriter& operator=(const VectorFileWriter&) = delete;

  void Append(Span<const T> row);
  /// Flushes and closes; errors surface here, which a destructor could not report.
  void Close();

 private:
  std::string path_;
  std::FILE* file_ = nullptr;
};

extern template class VectorFileWriter<float>;
extern template class VectorFileWriter<std::int32_t>;

}  // namespace tandem::bench
