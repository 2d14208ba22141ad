#include "vec/text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <system_error>

namespace tandem::vec {
namespace {

bool IsSpace(char c) noexcept {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

bool IsDigit(char c) noexcept {
  return c >= '0' && c <= '9';
}

/// Value of a hexadecimal digit, -1 for any other character.
int HexDigit(char c) noexcept {
  if (IsDigit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

const char* SkipSpaces(const char* at, const char* end) noexcept {
  while (at != end && IsSpace(*at)) ++at;
  return at;
}

/// Does [at, end) begin with `word` (lower-case letters), in any case?
bool StartsWithWord(const char* at, const char* end, const char* word) noexcept {
  for (; *word != '\0'; ++word, ++at) {
    if (at == end || static_cast<char>(*at | 0x20) != *word) return false;
  }
  return true;
}

struct Number {
  TextFault fault = TextFault::kSyntax;
  float value = 0.0F;
  bool vanished = false;      ///< not zero, but too small for float32
  const char* end = nullptr;  ///< first byte after the number
};

/// Tells overflow from underflow for a number that std::from_chars calls out of range: is its magnitude above one?
/// [at, end) is exactly the number, without sign or "0x". Position of the first significant digit and exponent
/// decide; either is tens away from the border, so that rounding does not matter.
bool IsAboveOne(const char* at, const char* end, bool hexadecimal) noexcept {
  constexpr std::int64_t kExponentCap = std::int64_t{1} << 40;  // beyond any digit count of a 1 GB text
  const std::int64_t digit_weight = hexadecimal ? 4 : 1;
  const char exponent_letter = hexadecimal ? 'p' : 'e';
  bool seen_point = false;
  bool seen_significant = false;
  std::int64_t magnitude =
      0;  // digits before the point from the first significant one; negative: zeros after it
  for (; at != end && static_cast<char>(*at | 0x20) != exponent_letter; ++at) {
    if (*at == '.') {
      seen_point = true;
      continue;
    }
    seen_significant = seen_significant || *at != '0';
    if (seen_significant && !seen_point) ++magnitude;
    if (!seen_significant && seen_point) --magnitude;
  }
  std::int64_t exponent = 0;
  bool negative = false;
  if (at != end) {
    ++at;
    negative = at != end && *at == '-';
    if (at != end && (*at == '-' || *at == '+')) ++at;
    for (; at != end && exponent < kExponentCap; ++at) exponent = exponent * 10 + (*at - '0');
  }
  return magnitude * digit_weight + (negative ? -exponent : exponent) > 0;
}

/// Where a hexadecimal number must end at the latest: libstdc++ reads a minus sign after the plus sign of an exponent, too.
const char* EndOfHexadecimal(const char* at, const char* end) noexcept {
  while (at != end && (HexDigit(*at) >= 0 || *at == '.')) ++at;
  const bool has_two_signs =
      end - at > 2 && static_cast<char>(at[0] | 0x20) == 'p' && at[1] == '+' && at[2] == '-';
  return has_two_signs ? at : end;
}

/// Any unsigned number. A hand-written path for short decimals in front of from_chars saved 3 ns of
/// 16 for 9 digits (strtof takes 47) and cost 14 ns for long ones.
Number ParseMagnitude(const char* at, const char* end) noexcept {
  Number number;
  number.end = at;
  if (StartsWithWord(at, end, "nan")) {
    number.fault = TextFault::kElementNotANumber;
    return number;
  }
  if (StartsWithWord(at, end, "inf")) {
    number.fault = TextFault::kElementInfinite;
    return number;
  }
  bool hexadecimal = end - at > 2 && at[0] == '0' && static_cast<char>(at[1] | 0x20) == 'x';
  if (hexadecimal) {
    // "0x" alone, or before something else, is the number zero followed by that something.
    const bool digit_follows = HexDigit(at[2]) >= 0 || (at[2] == '.' && end - at > 3 && HexDigit(at[3]) >= 0);
    if (digit_follows) {
      at += 2;
      end = EndOfHexadecimal(at, end);
    } else {
      hexadecimal = false;
    }
  }
  // from_chars would accept a minus sign here, after the one that the caller consumed.
  if (at == end || *at == '-') return number;
  const auto [stop, error] = std::from_chars(
      at, end, number.value, hexadecimal ? std::chars_format::hex : std::chars_format::general);
  if (error == std::errc::invalid_argument) return number;
  number.end = stop;
  if (error == std::errc::result_out_of_range) {
    if (IsAboveOne(at, stop, hexadecimal)) {
      number.fault = TextFault::kElementOutOfRange;
      return number;
    }
    number.value = 0.0F;
    number.vanished = true;
  } else if (number.value > std::numeric_limits<float>::max()) {
    number.fault = TextFault::kElementOutOfRange;  // some libraries return infinity without an error
    return number;
  }
  number.fault = TextFault::kNone;
  return number;
}

/// One element at `at`, which is neither the end nor white space.
Number ParseElement(const char* at, const char* end) noexcept {
  const bool negative = *at == '-';
  const char* const magnitude = negative || *at == '+' ? at + 1 : at;
  Number number = ParseMagnitude(magnitude, end);
  if (negative) number.value = -number.value;
  return number;
}

TextResult Fault(TextFault fault) noexcept {
  TextResult result;
  result.fault = fault;
  return result;
}

SparseTextResult Fault(SparseTextFault fault) noexcept {
  SparseTextResult result;
  result.fault = fault;
  return result;
}

SparseTextFault AsSparse(TextFault fault) noexcept {
  switch (fault) {
    case TextFault::kElementOutOfRange:
      return SparseTextFault::kElementOutOfRange;
    case TextFault::kElementNotANumber:
      return SparseTextFault::kElementNotANumber;
    case TextFault::kElementInfinite:
      return SparseTextFault::kElementInfinite;
    case TextFault::kNone:
      return SparseTextFault::kNone;
    case TextFault::kNoOpeningBracket:
    case TextFault::kSyntax:
    case TextFault::kJunkAfterEnd:
    case TextFault::kEmpty:
    case TextFault::kTooManyElements:
      return SparseTextFault::kSyntax;
  }
  return SparseTextFault::kSyntax;
}

struct Integer {
  bool present = false;
  std::int32_t value = 0;  ///< clamped to int32, the least one excepted, so that 1 can be taken off
  const char* end = nullptr;
};

/// A decimal integer with an optional sign, as strtol reads it.
Integer ParseInteger(const char* at, const char* end) noexcept {
  constexpr std::int64_t kLimit = std::numeric_limits<std::int32_t>::max();
  const bool negative = at != end && *at == '-';
  if (negative || (at != end && *at == '+')) ++at;
  Integer integer;
  std::int64_t magnitude = 0;
  for (; at != end && IsDigit(*at); ++at) {
    integer.present = true;
    magnitude = std::min(magnitude * 10 + (*at - '0'), kLimit);
  }
  integer.value = static_cast<std::int32_t>(negative ? -magnitude : magnitude);
  integer.end = at;
  return integer;
}

}  // namespace

TextResult ParseVector(base::Span<const char> text, base::Span<float> elements, float range_end) noexcept {
  const char* const end = text.end();
  const char* at = SkipSpaces(text.begin(), end);
  if (at == end || *at != '[') return Fault(TextFault::kNoOpeningBracket);
  at = SkipSpaces(at + 1, end);
  if (at != end && *at == ']') return Fault(TextFault::kEmpty);

  TextResult result;
  for (;;) {
    if (result.dimensions == elements.size()) return Fault(TextFault::kTooManyElements);
    at = SkipSpaces(at, end);
    if (at == end) return Fault(TextFault::kSyntax);
    Number number = ParseElement(at, end);
    if (number.fault == TextFault::kNone && std::fabs(number.value) >= range_end)
      number.fault = TextFault::kElementOutOfRange;
    if (number.fault != TextFault::kNone) {
      result.fault = number.fault;
      result.offset = static_cast<std::size_t>(at - text.begin());
      result.length = static_cast<std::size_t>(number.end - at);
      return result;
    }
    elements[result.dimensions++] = number.value;
    at = SkipSpaces(number.end, end);
    if (at == end) return Fault(TextFault::kSyntax);
    const char separator = *at++;
    if (separator == ']') break;
    if (separator != ',') return Fault(TextFault::kSyntax);
  }
  return SkipSpaces(at, end) == end ? result : Fault(TextFault::kJunkAfterEnd);
}

SparseTextResult ParseSparseVector(base::Span<const char> text, base::Span<SparseElement> elements) noexcept {
  const char* const end = text.end();
  const char* at = SkipSpaces(text.begin(), end);
  if (at == end || *at != '{') return Fault(SparseTextFault::kNoOpeningBrace);
  at = SkipSpaces(at + 1, end);

  SparseTextResult result;
  bool more = at == end || *at != '}';
  if (!more) ++at;
  for (std::size_t read = 0; more; ++read) {
    if (read == elements.size()) return Fault(SparseTextFault::kTooManyElements);
    const Integer index = ParseInteger(SkipSpaces(at, end), end);
    if (!index.present) return Fault(SparseTextFault::kSyntax);
    at = SkipSpaces(index.end, end);
    if (at == end || *at != ':') return Fault(SparseTextFault::kSyntax);
    at = SkipSpaces(at + 1, end);
    if (at == end) return Fault(SparseTextFault::kSyntax);
    Number number = ParseElement(at, end);
    // Unlike in a dense vector, a number must not turn into a zero: its place would be forgotten.
    if (number.vanished) number.fault = TextFault::kElementOutOfRange;
    if (number.fault != TextFault::kNone) {
      result.fault = AsSparse(number.fault);
      result.offset = static_cast<std::size_t>(at - text.begin());
      result.length = static_cast<std::size_t>(number.end - at);
      return result;
    }
    if (number.value != 0.0F) elements[result.elements++] = {index.value - 1, number.value};
    at = SkipSpaces(number.end, end);
    if (at == end) return Fault(SparseTextFault::kSyntax);
    const char separator = *at++;
    if (separator != ',' && separator != '}') return Fault(SparseTextFault::kSyntax);
    more = separator == ',';
  }

  at = SkipSpaces(at, end);
  if (at == end || *at != '/') return Fault(SparseTextFault::kNoDimensions);
  const Integer dimensions = ParseInteger(SkipSpaces(at + 1, end), end);
  if (!dimensions.present) return Fault(SparseTextFault::kSyntax);
  if (SkipSpaces(dimensions.end, end) != end) return Fault(SparseTextFault::kJunkAfterEnd);
  result.dimensions = dimensions.value;
  std::sort(elements.begin(), elements.begin() + result.elements,
            [](const SparseElement& a, const SparseElement& b) { return a.index < b.index; });
  return result;
}

}  // namespace tandem::vec
