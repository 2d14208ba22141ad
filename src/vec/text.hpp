#pragma once
// The text form of a vector, "[1,2.5,-3e2]", read without a server, a locale or an allocation.

#include <cstddef>

#include "base/span.hpp"

namespace tandem::vec {

/// What is wrong with a text; the first fault from the left is the one reported.
enum class TextFault : unsigned char {
  kNone,
  kNoOpeningBracket,   ///< does not start with '['
  kSyntax,             ///< a missing element, an unknown character, or the text ends too early
  kJunkAfterEnd,       ///< something other than white space after ']'
  kEmpty,              ///< "[]"
  kTooManyElements,    ///< more elements than the caller's buffer holds
  kElementOutOfRange,  ///< a finite number beyond float32, see `offset` and `length`
  kElementNotANumber,  ///< "NaN"
  kElementInfinite,    ///< "Infinity"
};

struct TextResult {
  TextFault fault = TextFault::kNone;
  std::size_t dimensions = 0;  ///< elements stored; meaningful without a fault
  std::size_t offset = 0;      ///< start of the faulty number within the text (kElementOutOfRange)
  std::size_t length = 0;      ///< its length in bytes
};

/// Parses `text` (need not be NUL-terminated; an embedded NUL is a syntax error) into `elements`.
///
/// Accepts what strtof in the C locale accepts for each element: sign, decimal or hexadecimal digits, exponent;
/// white space (space, \t \n \v \f \r) around every token. Elements are rounded once, to nearest even; a number
/// too small for float32 becomes a denormal or a zero of its sign. Nothing is read outside `text`.
/// Thread-safe, allocates nothing.
[[nodiscard]] TextResult ParseVector(base::Span<const char> text, base::Span<float> elements) noexcept;

}  // namespace tandem::vec
