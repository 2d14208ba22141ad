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

/// How an element looks in memory and on the wire.
template <typename Element>
struct Bits;

template <>
struct Bits<float> {
  using Type = std::uint32_t;
  static constexpr Type kMagnitudeMask = 0x7FFFFFFF;
  static constexpr Type kInfinity = 0x7F800000;
  static Type Load(const unsigned char* bytes) noexcept { return LoadBig32(bytes); }
  static void Store(Type bits, unsigned char* bytes) noexcept { StoreBig32(bits, bytes); }
};

template <>
struct Bits<Half> {
  using Type = std::uint16_t;
  static constexpr Type kMagnitudeMask = 0x7FFF;
  static constexpr Type kInfinity = 0x7C00;
  static Type Load(const unsigned char* bytes) noexcept { return LoadBig16(bytes); }
  static void Store(Type bits, unsigned char* bytes) noexcept { StoreBig16(bits, bytes); }
};

template <typename Element>
ElementFault FirstNonFinite(base::Span<const Element> elements) noexcept {
  using Form = Bits<Element>;
  // Integer compares without an early exit vectorise; only a bad vector pays for the second pass.
  std::uint32_t any = 0;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    typename Form::Type bits = 0;
    std::memcpy(&bits, &elements[i], sizeof bits);
    any |= static_cast<std::uint32_t>((bits & Form::kMagnitudeMask) >= Form::kInfinity);
  }
  if (any == 0) return ElementFault::kNone;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    typename Form::Type bits = 0;
    std::memcpy(&bits, &elements[i], sizeof bits);
    if ((bits & Form::kMagnitudeMask) > Form::kInfinity) return ElementFault::kNotANumber;
    if ((bits & Form::kMagnitudeMask) == Form::kInfinity) return ElementFault::kInfinite;
  }
  return ElementFault::kNone;
}

template <typename Element>
ElementFault Decode(base::Span<const unsigned char> bytes, base::Span<Element> elements) noexcept {
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const typename Bits<Element>::Type bits = Bits<Element>::Load(bytes.data() + i * sizeof(Element));
    std::memcpy(&elements[i], &bits, sizeof bits);
  }
  return FirstNonFinite(base::Span<const Element>(elements.data(), elements.size()));
}

template <typename Element>
void Encode(base::Span<const Element> elements, unsigned char* bytes) noexcept {
  StoreBig16(static_cast<std::uint16_t>(elements.size()), bytes);
  StoreBig16(0, bytes + 2);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    typename Bits<Element>::Type bits = 0;
    std::memcpy(&bits, &elements[i], sizeof bits);
    Bits<Element>::Store(bits, bytes + kWireHeaderBytes + i * sizeof(Element));
  }
}

}  // namespace

WireHeader DecodeWireHeader(base::Span<const unsigned char> bytes) noexcept {
  return WireHeader{LoadBig16(bytes.data()), LoadBig16(bytes.data() + 2)};
}

ElementFault DecodeWireElements(base::Span<const unsigned char> bytes, base::Span<float> elements) noexcept {
  return Decode(bytes, elements);
}

ElementFault DecodeWireElements(base::Span<const unsigned char> bytes, base::Span<Half> elements) noexcept {
  return Decode(bytes, elements);
}

void EncodeWire(base::Span<const float> elements, unsigned char* bytes) noexcept {
  Encode(elements, bytes);
}

void EncodeWire(base::Span<const Half> elements, unsigned char* bytes) noexcept {
  Encode(elements, bytes);
}

ElementFault FindNonFinite(base::Span<const float> elements) noexcept {
  return FirstNonFinite(elements);
}

ElementFault FindNonFinite(base::Span<const Half> elements) noexcept {
  return FirstNonFinite(elements);
}

std::uint32_t LoadWire32(const unsigned char* bytes) noexcept {
  return LoadBig32(bytes);
}

void StoreWire32(std::uint32_t value, unsigned char* bytes) noexcept {
  StoreBig32(value, bytes);
}

}  // namespace tandem::vec
