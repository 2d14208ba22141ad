#pragma once
// The text forms of vectors, "[1,2.5,-3e2]" and sparse "{1:1.5,3:-2}/5", read without a server, a locale or an allocation.

#include <cstddef>
#include <cstdint>
#include <limits>

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
  kElementOutOfRange,  ///< a finite number beyond what an element holds, see `offset` and `length`
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
/// A magnitude of `range_end` or more is out of range, as is what float32 does not hold.
/// Thread-safe, allocates nothing.
[[nodiscard]] TextResult ParseVector(base::Span<const char> text, base::Span<float> elements,
                                     float range_end = std::numeric_limits<float>::infinity()) noexcept;

struct SparseElement {
  std::int32_t index;  ///< from 0; may lie outside of the vector
  float value;         ///< finite, not 0
};

enum class SparseTextFault : unsigned char {
  kNone,
  kNoOpeningBrace,   ///< does not start with '{'
  kSyntax,           ///< a missing number, an unknown character, or the text ends too early
  kNoDimensions,     ///< no '/' after '}'
  kJunkAfterEnd,     ///< something other than white space after the dimensions
  kTooManyElements,  ///< more elements, zeros included, than the caller's buffer holds
  kElementOutOfRange,  ///< a number that float32 does not hold or that vanishes in it, see `offset` and `length`
  kElementNotANumber,  ///< "NaN"
  kElementInfinite,    ///< "Infinity"
};

struct SparseTextResult {
  SparseTextFault fault = SparseTextFault::kNone;
  std::int32_t dimensions = 0;  ///< as written, clamped to int32; the caller checks the range
  std::size_t elements = 0;     ///< stored; zeros are dropped
  std::size_t offset = 0;       ///< start of the faulty number within the text (kElementOutOfRange)
  std::size_t length = 0;       ///< its length in bytes
};

/// Parses "{1:1.5,3:-2}/5", where indices count from 1, into `elements`, ascending by index; whether indices repeat or
/// lie within the vector is for the caller to check. Otherwise as ParseVector().
[[nodiscard]] SparseTextResult ParseSparseVector(base::Span<const char> text,
                                                 base::Span<SparseElement> elements) noexcept;

}  // namespace tandem::vec
