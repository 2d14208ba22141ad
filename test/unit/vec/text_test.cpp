#include "vec/text.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <clocale>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace tandem::vec {
namespace {

constexpr std::size_t kCapacity = 16000;

struct Parsed {
  TextResult result;
  std::vector<float> elements;
};

/// Parses a copy that ends exactly where the text does, so that a sanitizer sees any read past it.
Parsed Parse(const std::string& text, std::size_t capacity = kCapacity) {
  std::unique_ptr<char[]> bytes(new char[text.size()]);
  std::memcpy(bytes.get(), text.data(), text.size());
  Parsed parsed;
  parsed.elements.resize(capacity);
  parsed.result = ParseVector({bytes.get(), text.size()}, {parsed.elements.data(), capacity});
  if (parsed.result.fault == TextFault::kNone) parsed.elements.resize(parsed.result.dimensions);
  return parsed;
}

TextFault FaultOf(const std::string& text) {
  return Parse(text).result.fault;
}

std::uint32_t Bits(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// The reference: what strtof of the C locale makes of one element, with the errors of float4 input.
struct Reference {
  TextFault fault = TextFault::kSyntax;
  float value = 0.0F;
  std::size_t length = 0;  ///< of the part that is a number
};

Reference ReferenceOf(const std::string& element) {
  Reference reference;
  char* end = nullptr;
  errno = 0;
  const float value = std::strtof(element.c_str(), &end);
  if (end == element.c_str()) return reference;
  reference.length = static_cast<std::size_t>(end - element.c_str());
  if (errno == ERANGE && std::isinf(value)) {
    reference.fault = TextFault::kElementOutOfRange;
  } else if (std::isnan(value)) {
    reference.fault = TextFault::kElementNotANumber;
  } else if (std::isinf(value)) {
    reference.fault = TextFault::kElementInfinite;
  } else if (*end == '\0') {
    reference.fault = TextFault::kNone;
    reference.value = value;
  }
  return reference;
}

void ExpectLikeStrtof(const std::string& element) {
  const Reference reference = ReferenceOf(element);
  const Parsed parsed = Parse("[" + element + "]", 2);
  ASSERT_EQ(static_cast<int>(parsed.result.fault), static_cast<int>(reference.fault)) << element;
  if (reference.fault == TextFault::kNone) {
    ASSERT_EQ(Bits(parsed.elements[0]), Bits(reference.value)) << element;
  }
  if (reference.fault == TextFault::kElementOutOfRange) {
    ASSERT_EQ(parsed.result.offset, 1U) << element;
    ASSERT_EQ(parsed.result.length, reference.length) << element;
  }
}

TEST(ParseVector, ReadsPlainAndSpacedNumbers) {
  EXPECT_EQ(Parse("[1,2,3]").elements, (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(Parse(" \t\n\v\f\r[ 1 ,\t-2.5\n, +3e2 ] \n").elements, (std::vector<float>{1, -2.5F, 300}));
  EXPECT_EQ(Parse("[1.,.5,0x10,0X1.8p1,1E2]").elements, (std::vector<float>{1, 0.5F, 16, 3, 100}));
}

TEST(ParseVector, KeepsTheSignOfZero) {
  const Parsed parsed = Parse("[-0,0,-1e-60,+0.0]");
  ASSERT_EQ(parsed.elements.size(), 4U);
  EXPECT_TRUE(std::signbit(parsed.elements[0]));
  EXPECT_FALSE(std::signbit(parsed.elements[1]));
  EXPECT_TRUE(std::signbit(parsed.elements[2]));
  EXPECT_FALSE(std::signbit(parsed.elements[3]));
}

TEST(ParseVector, NamesTheFirstFault) {
  EXPECT_EQ(FaultOf(""), TextFault::kNoOpeningBracket);
  EXPECT_EQ(FaultOf("  "), TextFault::kNoOpeningBracket);
  EXPECT_EQ(FaultOf("1,2"), TextFault::kNoOpeningBracket);
  EXPECT_EQ(FaultOf("{1,2}"), TextFault::kNoOpeningBracket);
  EXPECT_EQ(FaultOf("["), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[ "), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[,"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[,]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1,]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1,,2]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1, ,2]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1 2]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1a]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1;2]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[-]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[--1]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[+-1]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[- 1]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[.]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1.2.3]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1e]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[1e+]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[0x]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[0x.]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[0x-1]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[0x0x1]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[0x.8P+-9]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[-0x1p+-1,2]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[]"), TextFault::kEmpty);
  EXPECT_EQ(FaultOf("[ ]"), TextFault::kEmpty);
  EXPECT_EQ(FaultOf("[1]2"), TextFault::kJunkAfterEnd);
  EXPECT_EQ(FaultOf("[1]]"), TextFault::kJunkAfterEnd);
  EXPECT_EQ(FaultOf("[nan]"), TextFault::kElementNotANumber);
  EXPECT_EQ(FaultOf("[1,-NaN(17)]"), TextFault::kElementNotANumber);
  EXPECT_EQ(FaultOf("[inf,oops"), TextFault::kElementInfinite);
  EXPECT_EQ(FaultOf("[-InFiNiTy]"), TextFault::kElementInfinite);
  EXPECT_EQ(FaultOf("[na]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf("[in]"), TextFault::kSyntax);
  EXPECT_EQ(FaultOf(std::string("[1\0]", 4)), TextFault::kSyntax);
}

TEST(ParseVector, PointsAtTheNumberOutOfRange) {
  const Parsed parsed = Parse("[1, -4e38 ,2]");
  EXPECT_EQ(parsed.result.fault, TextFault::kElementOutOfRange);
  EXPECT_EQ(parsed.result.offset, 4U);
  EXPECT_EQ(parsed.result.length, 5U);
}

TEST(ParseVector, TakesTheEndOfTheRangeAsOutOfIt) {
  float elements[3];
  const std::string text = "[1,-7.9, -8 ]";
  const TextResult result = ParseVector({text.data(), text.size()}, {elements, 3}, 8.0F);
  EXPECT_EQ(result.fault, TextFault::kElementOutOfRange);
  EXPECT_EQ(text.substr(result.offset, result.length), "-8");
  EXPECT_EQ(ParseVector({text.data(), text.size()}, {elements, 3}, 8.5F).fault, TextFault::kNone);
}

/// Parses a copy that ends exactly where the text does, so that a sanitizer sees any read past it.
SparseTextResult ParseSparse(const std::string& text, std::vector<SparseElement>* elements) {
  std::unique_ptr<char[]> bytes(new char[text.size()]);
  std::memcpy(bytes.get(), text.data(), text.size());
  const SparseTextResult result =
      ParseSparseVector({bytes.get(), text.size()}, {elements->data(), elements->size()});
  if (result.fault == SparseTextFault::kNone) elements->resize(result.elements);
  return result;
}

SparseTextFault SparseFaultOf(const std::string& text) {
  std::vector<SparseElement> elements(3);
  return ParseSparse(text, &elements).fault;
}

TEST(ParseSparseVector, SortsElementsAndDropsZeros) {
  std::vector<SparseElement> elements(4);
  const SparseTextResult result = ParseSparse(" { 7 : 1.5 , +3:-2e1,5:0 , 1:-0} / 9 ", &elements);
  EXPECT_EQ(result.fault, SparseTextFault::kNone);
  EXPECT_EQ(result.dimensions, 9);
  ASSERT_EQ(elements.size(), 2U);
  EXPECT_EQ(elements[0].index, 2);
  EXPECT_EQ(elements[0].value, -20.0F);
  EXPECT_EQ(elements[1].index, 6);
  EXPECT_EQ(elements[1].value, 1.5F);
}

TEST(ParseSparseVector, ClampsIntegersForTheCallerToRefuse) {
  std::vector<SparseElement> elements(3);
  const SparseTextResult result =
      ParseSparse("{-99999999999999999999:1,99999999999:2}/99999999999", &elements);
  EXPECT_EQ(result.fault, SparseTextFault::kNone);
  EXPECT_EQ(result.dimensions, std::numeric_limits<std::int32_t>::max());
  ASSERT_EQ(elements.size(), 2U);
  EXPECT_LT(elements[0].index, 0);
  EXPECT_EQ(elements[1].index, std::numeric_limits<std::int32_t>::max() - 1);
}

TEST(ParseSparseVector, NamesTheFirstFault) {
  for (const char* text : {"", " ", "[1]", "1:1}/1"})
    EXPECT_EQ(SparseFaultOf(text), SparseTextFault::kNoOpeningBrace) << text;
  for (const char* text :
       {"{",        "{ ",      "{1",      "{1:",    "{1: ",      "{1:1",      "{1:1,",
        "{1:1,}/1", "{,}/1",   "{:1}/1",  "{1:}/1", "{1.5:1}/2", "{1 1:1}/2", "{1:1 2:1}/2",
        "{x:1}/1",  "{1:x}/1", "{-:1}/1", "{1:1}/", "{1:1}/x",   "{}/-"})
    EXPECT_EQ(SparseFaultOf(text), SparseTextFault::kSyntax) << text;
  for (const char* text : {"{}", "{} ", "{1:1}", "{}5", "{}}/5"})
    EXPECT_EQ(SparseFaultOf(text), SparseTextFault::kNoDimensions) << text;
  for (const char* text : {"{}/5x", "{}/5 6", "{}/5.0"})
    EXPECT_EQ(SparseFaultOf(text), SparseTextFault::kJunkAfterEnd) << text;
  EXPECT_EQ(SparseFaultOf("{1:0,2:0,3:0,4:0}/9"), SparseTextFault::kTooManyElements);
  EXPECT_EQ(SparseFaultOf("{1:nan}/1"), SparseTextFault::kElementNotANumber);
  EXPECT_EQ(SparseFaultOf("{1:-inf}/1"), SparseTextFault::kElementInfinite);
  EXPECT_EQ(SparseFaultOf("{1:1e39}/1"), SparseTextFault::kElementOutOfRange);
  EXPECT_EQ(SparseFaultOf("{1:1e-46}/1"), SparseTextFault::kElementOutOfRange) << "it would be forgotten";
  EXPECT_EQ(SparseFaultOf("{1:1e-45}/1"), SparseTextFault::kNone);
}

TEST(ParseVector, CountsElementsAgainstTheBuffer) {
  EXPECT_EQ(Parse("[1,2,3]", 3).result.fault, TextFault::kNone);
  EXPECT_EQ(Parse("[1,2,3,4]", 3).result.fault, TextFault::kTooManyElements);
  EXPECT_EQ(Parse("[1,2,3,x]", 3).result.fault, TextFault::kTooManyElements);
  std::string text = "[1";
  for (std::size_t i = 1; i < kCapacity; ++i) text += ",1";
  EXPECT_EQ(Parse(text + "]").elements.size(), kCapacity);
  EXPECT_EQ(FaultOf(text + ",1]"), TextFault::kTooManyElements);
}

TEST(ParseVector, AgreesWithStrtofOnExtremes) {
  const char* const elements[] = {"3.4028235e38",
                                  "3.4028234663852886e38",
                                  "3.4028235677973366e38",
                                  "3.40282356779733661637e38",
                                  "3.5e38",
                                  "4e38",
                                  "-4e38",
                                  "1e39",
                                  "1e400",
                                  "1e99999999999999999999",
                                  "1.17549435e-38",
                                  "1.17549421e-38",
                                  "1e-45",
                                  "1.4e-45",
                                  "7.006492321624085e-46",
                                  "7.0064923216240854e-46",
                                  "7.1e-46",
                                  "7e-46",
                                  "1e-46",
                                  "-1e-46",
                                  "1e-400",
                                  "1e-99999999999999999999",
                                  "0e400",
                                  "0e-400",
                                  "0.0e99999999999999999999",
                                  "0x1p127",
                                  "0x1.fffffep127",
                                  "0x1.ffffffp127",
                                  "0x1p128",
                                  "0x1p-149",
                                  "0x1p-150",
                                  "0x1.8p-150",
                                  "0x1p-200",
                                  "0x1p-99999",
                                  "0x1p99999",
                                  "0x0p99999",
                                  "0x123456789abcdef.fp-20",
                                  "0xffffffffffffffffffffffffffffffffffffffff",
                                  "16777217",
                                  "16777219",
                                  "16777216.99999999999999999",
                                  "16777217.00000000000000001",
                                  "9007199254740993",
                                  "999999999999999999",
                                  "1000000000000000000",
                                  "123456789012345678901234567890",
                                  "0.000000000000000000000000000001",
                                  "1.00000005960464477539",
                                  "1.00000005960464477540",
                                  "1.000000059604644775390625",
                                  "1.00000005960464477539062500000000000000000001",
                                  "8.5e22",
                                  "1e22",
                                  "1e23",
                                  "1e-22",
                                  "1e-23",
                                  "1e10",
                                  "1e11",
                                  "00000000000000000000001",
                                  "0.1",
                                  "0.30000001192092896",
                                  "1e0005",
                                  "1e-0005",
                                  "1e+05",
                                  "5e-324",
                                  "infinit",
                                  "i",
                                  "nan(",
                                  "0x1p",
                                  "0x1p+",
                                  "1e1.5",
                                  "1_000",
                                  "1d5",
                                  "0b1",
                                  "\u00a01",
                                  "1\u00a0"};
  for (const char* element : elements) ExpectLikeStrtof(element);
  // Overflow and underflow must be told apart also where the exponent alone does not say.
  const std::string zeros(500, '0');
  const std::vector<std::string> elements_with_zeros = {"1" + zeros,
                                                        "1" + zeros + "e-500",
                                                        "1" + zeros + "e-600",
                                                        "1" + zeros + "e-460",
                                                        "0." + zeros + "1",
                                                        "0." + zeros + "1e400",
                                                        "0." + zeros + "1e501",
                                                        "0." + zeros + "1e600",
                                                        "0x1" + zeros + "p-2000",
                                                        "0x1" + zeros + "p-2300",
                                                        "0x." + zeros + "1p1800",
                                                        "0x." + zeros + "1p2004",
                                                        "0x." + zeros + "1p2300",
                                                        "0" + zeros + "." + zeros};
  for (const std::string& element : elements_with_zeros) {
    ExpectLikeStrtof(element);
    ExpectLikeStrtof(std::string("-").append(element));
  }
}

TEST(ParseVector, AgreesWithStrtofOnRandomNumbers) {
  std::mt19937_64 random(20240611);
  const char* const formats[] = {"%.9g", "%.6f", "%.17g", "%.8e", "%a", "%g", "%.40g", "%.3f"};
  for (int round = 0; round < 200000; ++round) {
    const auto bits = static_cast<std::uint32_t>(random());
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof value);
    char text[512];
    (std::snprintf)(text, sizeof text, formats[random() % 8], static_cast<double>(value));
    ExpectLikeStrtof(text);
  }
}

TEST(ParseVector, RoundsHalfwayDecimalsLikeStrtof) {
  // Around the middle between two neighbouring floats is where rounding twice goes wrong.
  std::mt19937_64 random(7);
  for (int round = 0; round < 50000; ++round) {
    const float low =
        std::ldexp(static_cast<float>(random() % (1U << 24)), static_cast<int>(random() % 40) - 30);
    const double middle =
        (static_cast<double>(low) + std::nextafter(low, std::numeric_limits<float>::infinity())) / 2.0;
    char text[128];
    (std::snprintf)(text, sizeof text, "%.*g", 7 + static_cast<int>(random() % 16), middle);
    ExpectLikeStrtof(text);
  }
}

TEST(ParseVector, AgreesWithStrtofOnRandomJunk) {
  const char alphabet[] = "0123456789.eExXpP+-nainfNAINF ()_";
  std::mt19937_64 random(99);
  for (int round = 0; round < 300000; ++round) {
    std::string element;
    const std::size_t length = 1 + random() % 9;
    for (std::size_t i = 0; i < length; ++i) element += alphabet[random() % (sizeof alphabet - 1)];
    if (element.front() == ' ' || element.back() == ' ')
      continue;  // white space is skipped by the caller's rules
    ExpectLikeStrtof(element);
  }
}

TEST(ParseVector, DoesNotDependOnTheLocale) {
  const std::string before = std::setlocale(LC_NUMERIC, nullptr);
  const char* const comma_locales[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8"};
  bool found = false;
  for (const char* name : comma_locales) found = found || std::setlocale(LC_NUMERIC, name) != nullptr;
  if (!found) GTEST_SKIP() << "no locale with a decimal comma is installed";
  const Parsed parsed = Parse("[1.5,2,0x1.8p1,123456789012345678901.5]");
  std::setlocale(LC_NUMERIC, before.c_str());
  EXPECT_EQ(parsed.elements, (std::vector<float>{1.5F, 2, 3, 123456789012345678901.5F}));
}

}  // namespace
}  // namespace tandem::vec
