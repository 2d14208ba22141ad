#include "vec/wire.hpp"

#include <cstring>

namespace tandem::vec {
namespace {

// Written with shifts, not with a byte-order test: compilers turn each into one instruction, and whole loops into
// vector shuffles.
std::uint16_t LoadBig16(const unsigned char* bytes) noexcept {
  return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}

std::uint32_t LoadBig32(const unsigned char* bytes) noexcept {
  return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
         static_cast<std::uint32_t>(bytes[2]) << 8 | static_cast<std::uint32_t>(bytes[3]);
}

void StoreBig16(std::uint16_t value, unsigned char* bytes) noexcept {
  bytes[0] = static_cast<unsigned char>(value >> 8);
  bytes[1] = static_cast<unsigned char>(value);
}

void StoreBig32(std::uint32_t value, unsigned char* bytes) noexcept {
  bytes[0] = static_cast<unsigned char>(value >> 24);
  bytes[1] = static_cast<unsigned char>(value >> 16);
  bytes[2] = static_cast<unsigned char>(value >> 8);
  bytes[3] = static_cast<unsigned char>(value);
}

constexpr std::uint32_t kMagnitudeMask = 0x7FFFFFFF;
constexpr std::uint32_t kInfinityBits = 0x7F800000;

}  // namespace

WireHeader DecodeWireHeader(base::Span<const unsigned char> bytes) noexcept {
  return WireHeader{LoadBig16(bytes.data()), LoadBig16(bytes.data() + 2)};
}

ElementFault DecodeWireElements(base::Span<const unsigned char> bytes, base::Span<float> elements) noexcept {
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const std::uint32_t bits = LoadBig32(bytes.data() + i * sizeof(float));
    std::memcpy(&elements[i], &bits, sizeof bits);
  }
  return FindNonFinite(base::Span<const float>(elements.data(), elements.size()));
}

void EncodeWire(base::Span<const float> elements, unsigned char* bytes) noexcept {
  StoreBig16(static_cast<std::uint16_t>(elements.size()), bytes);
  StoreBig16(0, bytes + 2);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &elements[i], sizeof bits);
    StoreBig32(bits, bytes + kWireHeaderBytes + i * sizeof(float));
  }
}

ElementFault FindNonFinite(base::Span<const float> elements) noexcept {
  // Integer compares without an early exit vectorise; only a bad vector pays for the second pass.
  std::uint32_t any = 0;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &elements[i], sizeof bits);
    any |= static_cast<std::uint32_t>((bits & kMagnitudeMask) >= kInfinityBits);
  }
  if (any == 0) return ElementFault::kNone;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &elements[i], sizeof bits);
    if ((bits & kMagnitudeMask) > kInfinityBits) return ElementFault::kNotANumber;
    if ((bits & kMagnitudeMask) == kInfinityBits) return ElementFault::kInfinite;
  }
  return ElementFault::kNone;
}

}  // namespace tandem::vec
