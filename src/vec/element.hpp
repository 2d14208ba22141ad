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
  kBit = 2,      ///< type bit: eight to a byte, the first in its highest bit; those behind the last are zero
};

[[nodiscard]] constexpr bool IsElement(std::uint16_t number) noexcept {
  return number <= static_cast<std::uint16_t>(Element::kBit);
}

/// Bytes of `n` elements.
[[nodiscard]] constexpr std::size_t BytesOf(Element element, std::size_t n) noexcept {
  switch (element) {
    case Element::kFloat32:
      return n * sizeof(float);
    case Element::kFloat16:
      return n * sizeof(Half);
    case Element::kBit:
      return (n + 7) / 8;
  }
  return 0;
}

/// Stored elements as float32, exactly; bits as zeros and ones. stored: `n` of them, at any alignment; to: n floats elsewhere.
void Widen(Element element, const void* stored, std::size_t n, float* to) noexcept;

/// The bits that Widen() made these numbers of. bits: BytesOf(Element::kBit, n) bytes.
void PackBits(const float* widened, std::size_t n, unsigned char* bits) noexcept;

/// stored: `n` elements, at any alignment.
[[nodiscard]] bool AllFinite(Element element, const void* stored, std::size_t n) noexcept;

}  // namespace tandem::vec
