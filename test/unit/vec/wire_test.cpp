#include "vec/wire.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace tandem::vec {
namespace {

using Bytes = std::vector<unsigned char>;

TEST(Wire, EncodesBigEndianWithReservedZero) {
  const float elements[] = {1.0F, -2.5F};
  Bytes bytes(WireBytes(2), 0xAA);
  EncodeWire({elements, 2}, bytes.data());
  EXPECT_EQ(bytes, (Bytes{0, 2, 0, 0, 0x3F, 0x80, 0, 0, 0xC0, 0x20, 0, 0}));
}

TEST(Wire, HeaderIsUnsigned) {
  const Bytes bytes = {0xFF, 0xFE, 0x12, 0x34};
  const WireHeader header = DecodeWireHeader({bytes.data(), bytes.size()});
  EXPECT_EQ(header.dimensions, 0xFFFE);
  EXPECT_EQ(header.reserved, 0x1234);
}

TEST(Wire, RoundTripsEveryLengthAtAnyAlignment) {
  for (std::size_t dimensions = 1; dimensions <= 70; ++dimensions) {
    std::vector<float> elements(dimensions);
    for (std::size_t i = 0; i < dimensions; ++i) elements[i] = 0.1F * static_cast<float>(i) - 3.0F;
    for (std::size_t shift = 0; shift < 4; ++shift) {
      Bytes bytes(shift + WireBytes(dimensions));
      EncodeWire({elements.data(), dimensions}, bytes.data() + shift);
      EXPECT_EQ(DecodeWireHeader({bytes.data() + shift, kWireHeaderBytes}).dimensions, dimensions);
      std::vector<float> decoded(dimensions);
      const std::size_t body = shift + kWireHeaderBytes;
      EXPECT_EQ(DecodeWireElements({bytes.data() + body, bytes.size() - body}, {decoded.data(), dimensions}),
                ElementFault::kNone);
      EXPECT_EQ(decoded, elements);
    }
  }
}

TEST(Wire, HalvesTakeTwoBytesEach) {
  const Half elements[] = {0x3C00, 0xC100};
  Bytes bytes(WireBytes<Half>(2), 0xAA);
  EncodeWire(base::Span<const Half>(elements, 2), bytes.data());
  EXPECT_EQ(bytes, (Bytes{0, 2, 0, 0, 0x3C, 0, 0xC1, 0}));
  Half decoded[2] = {};
  EXPECT_EQ(DecodeWireElements({bytes.data() + kWireHeaderBytes, 4}, base::Span<Half>(decoded, 2)),
            ElementFault::kNone);
  EXPECT_EQ(decoded[0], elements[0]);
  EXPECT_EQ(decoded[1], elements[1]);
}

TEST(Wire, FindsHalvesThatAreNotFinite) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Half halves[] = {0x7BFF, static_cast<Half>(bits), 0};
    const bool special = (bits & 0x7C00U) == 0x7C00U;
    const ElementFault expected = !special               ? ElementFault::kNone
                                  : (bits & 0x3FFU) == 0 ? ElementFault::kInfinite
                                                         : ElementFault::kNotANumber;
    ASSERT_EQ(FindNonFinite(base::Span<const Half>(halves, 3)), expected) << bits;
  }
}

TEST(Wire, FindsTheFirstNonFiniteElementAtEveryPlace) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (std::size_t dimensions = 1; dimensions <= 40; ++dimensions) {
    for (std::size_t place = 0; place < dimensions; ++place) {
      std::vector<float> elements(dimensions, std::numeric_limits<float>::max());
      EXPECT_EQ(FindNonFinite({elements.data(), dimensions}), ElementFault::kNone);
      elements[place] = -infinity;
      EXPECT_EQ(FindNonFinite({elements.data(), dimensions}), ElementFault::kInfinite);
      elements[dimensions - 1] = -nan;
      EXPECT_EQ(FindNonFinite({elements.data(), dimensions}),
                place == dimensions - 1 ? ElementFault::kNotANumber : ElementFault::kInfinite);
    }
  }
}

TEST(Wire, AcceptsDenormalsAndBothZeros) {
  const Bytes body = {0, 0, 0, 1, 0x80, 0, 0, 0, 0x7F, 0x7F, 0xFF, 0xFF};
  float decoded[3];
  ASSERT_EQ(DecodeWireElements({body.data(), body.size()}, {decoded, 3}), ElementFault::kNone);
  EXPECT_EQ(decoded[0], std::numeric_limits<float>::denorm_min());
  EXPECT_TRUE(decoded[1] == 0.0F && std::signbit(decoded[1]));
  EXPECT_EQ(decoded[2], std::numeric_limits<float>::max());
}

}  // namespace
}  // namespace tandem::vec
