#pragma once
// Expected failures of the core: returned, never thrown.

#include <cstdarg>
#include <cstdio>

namespace tandem::base {

/// Kinds of failure; pg/guard.hpp maps each to an SQLSTATE.
enum class ErrorKind : unsigned char {
  kOk,
  kInvalidText,    ///< 22P02 malformed input
  kOutOfRange,     ///< 22003 a number does not fit
  kDataException,  ///< 22000 NaN, infinity, wrong dimensions
  kLimitExceeded,  ///< 54000 over a documented limit
  kCorrupted,      ///< XX002 stored bytes contradict the format
  kUnsuitable,     ///< 55000 sound, but not for what it was meant; mostly handled by who called
  kCancelled,      ///< 57014
};

/// Outcome with a fixed-size message: allocates nothing, is trivially copyable and so survives a longjmp.
class [[nodiscard]] Status {
 public:
  constexpr Status() noexcept = default;

  [[nodiscard]] static Status Error(ErrorKind kind, const char* format, ...) noexcept
      __attribute__((format(printf, 2, 3))) {
    Status status;
    status.kind_ = kind;
    va_list args;
    va_start(args, format);
    (std::vsnprintf)(status.message_, sizeof status.message_, format, args);
    va_end(args);
    return status;
  }

  [[nodiscard]] constexpr bool ok() const noexcept { return kind_ == ErrorKind::kOk; }
  [[nodiscard]] constexpr ErrorKind kind() const noexcept { return kind_; }
  [[nodiscard]] const char* message() const noexcept { return message_; }

 private:
  ErrorKind kind_ = ErrorKind::kOk;
  char message_[255] = {};
};

}  // namespace tandem::base
