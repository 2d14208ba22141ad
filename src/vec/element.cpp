#include "vec/element.hpp"

#include "vec/sketch.hpp"

namespace tandem::vec {
namespace {

constexpr std::size_t kBitsOfByte = 8;

/// What each byte is as eight numbers: 8 KB, against eight shifts and conversions a byte.
struct WidenedBytes {
  float numbers[256][kBitsOfByte];

  constexpr WidenedBytes() noexcept : numbers() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      for (unsigned bit = 0; bit < kBitsOfByte; ++bit) {
        numbers[byte][bit] = ((byte >> (kBitsOfByte - 1 - bit)) & 1U) != 0 ? 1.0F : 0.0F;
      }
    }
  }
};

constexpr WidenedBytes kWidenedBytes;

void WidenBits(const unsigned char* bits, std::size_t n, float* to) noexcept {
  std::size_t i = 0;
  for (; i + kBitsOfByte <= n; i += kBitsOfByte)
    std::memcpy(to + i, kWidenedBytes.numbers[bits[i / kBitsOfByte]], kBitsOfByte * sizeof(float));
  if (i < n) std::memcpy(to + i, kWidenedBytes.numbers[bits[i / kBitsOfByte]], (n - i) * sizeof(float));
}

}  // namespace

void Widen(Element element, const void* stored, std::size_t n, float* to) noexcept {
  switch (element) {
    case Element::kFloat32:
      std::memcpy(to, stored, n * sizeof(float));
      return;
    case Element::kFloat16:
      Kernels().to_floats(static_cast<const Half*>(stored), n, to);
      return;
    case Element::kBit:
      if (IsSketched(element, n))
        MakeSketchOfBits(static_cast<const unsigned char*>(stored), n, to);
      else
        WidenBits(static_cast<const unsigned char*>(stored), n, to);
      return;
    case Element::kSparse:
      MakeSketch(ViewOfRow(stored), n, to);
      return;
  }
}

bool AllFinite(Element element, const void* stored, std::size_t n) noexcept {
  switch (element) {
    case Element::kFloat32:
      return FindNonFinite(base::Span<const float>(static_cast<const float*>(stored), n)) ==
             ElementFault::kNone;
    case Element::kFloat16:
      return FindNonFinite(base::Span<const Half>(static_cast<const Half*>(stored), n)) ==
             ElementFault::kNone;
    case Element::kBit:
      return true;
    case Element::kSparse: {
      const SparseView row = ViewOfRow(stored);
      return FindNonFinite(base::Span<const float>(row.values, row.count)) == ElementFault::kNone;
    }
  }
  return false;
}

}  // namespace tandem::vec
