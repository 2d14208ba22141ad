#pragma once
// What stored vectors are made of.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "vec/kernels.hpp"
#include "vec/wire.hpp"

namespace tandem::vec {

/// On disk, in an index's meta page.
enum class Element : std::uint16_t {
  kFloat32 = 0,  ///< type vector
  kFloat16 = 1,  ///< type halfvec
  kBit =
      2,  ///< type bit: eight to a byte, the first in its highest bit; those behind the last are zero. Up to 64,000
  kSparse = 3,  ///< type sparsevec: rows of any length (SparseRow), up to 16,000 of up to 1e9 elements each
};

[[nodiscard]] constexpr bool IsElement(std::uint16_t number) noexcept {
  return number <= static_cast<std::uint16_t>(Element::kSparse);
}

/// Bytes of `n` elements; sparse rows have no such size (SparseRowBytes()).
[[nodiscard]] constexpr std::size_t BytesOf(Element element, std::size_t n) noexcept {
  switch (element) {
    case Element::kFloat32:
      return n * sizeof(float);
    case Element::kFloat16:
      return n * sizeof(Half);
    case Element::kBit:
      return (n + 7) / 8;
    case Element::kSparse:
      break;
  }
  return 0;
}

/// Stored elements as float32, exactly; bits as zeros and ones; a sparse row, aligned to 4, and more bits than graphs take as their
/// sketch (sketch.hpp). stored: `n` of them, at any alignment; to: WidenedDimensions() floats elsewhere.
void Widen(Element element, const void* stored, std::size_t n, float* to) noexcept;

/// stored: `n` elements, at any alignment; sparse: a row.
[[nodiscard]] bool AllFinite(Element element, const void* stored, std::size_t n) noexcept;

}  // namespace tandem::vec
