#pragma once
// The binary wire form of a vector: int16 dimensions, int16 zero, dimensions x float32 or float16, all big-endian.

#include <cstddef>
#include <cstdint>

#include "base/span.hpp"
#include "vec/kernels.hpp"

namespace tandem::vec {

constexpr std::size_t kWireHeaderBytes = 4;

/// Element: float or Half.
template <typename Element = float>
[[nodiscard]] constexpr std::size_t WireBytes(std::size_t dimensions) noexcept {
  return kWireHeaderBytes + dimensions * sizeof(Element);
}

struct WireHeader {
  std::uint16_t dimensions;  ///< as sent; the caller checks the range
  std::uint16_t reserved;    ///< zero in every valid message
};

/// bytes: kWireHeaderBytes at least.
[[nodiscard]] WireHeader DecodeWireHeader(base::Span<const unsigned char> bytes) noexcept;

/// What the first unusable element is.
enum class ElementFault : unsigned char { kNone, kNotANumber, kInfinite };

/// Decodes what follows the header into `elements`; reads exactly the size of an element for each of them, at any
/// alignment. On a fault the contents of `elements` are unspecified.
[[nodiscard]] ElementFault DecodeWireElements(base::Span<const unsigned char> bytes,
                                              base::Span<float> elements) noexcept;
[[nodiscard]] ElementFault DecodeWireElements(base::Span<const unsigned char> bytes,
                                              base::Span<Half> elements) noexcept;

/// Writes WireBytes<Element>(elements.size()) bytes to `bytes`.
void EncodeWire(base::Span<const float> elements, unsigned char* bytes) noexcept;
void EncodeWire(base::Span<const Half> elements, unsigned char* bytes) noexcept;

/// First NaN or infinity among `elements`.
[[nodiscard]] ElementFault FindNonFinite(base::Span<const float> elements) noexcept;
[[nodiscard]] ElementFault FindNonFinite(base::Span<const Half> elements) noexcept;

/// Numbers in network byte order, at any alignment: the wire form of a sparse vector is made of them.
[[nodiscard]] std::uint32_t LoadWire32(const unsigned char* bytes) noexcept;
void StoreWire32(std::uint32_t value, unsigned char* bytes) noexcept;

}  // namespace tandem::vec
