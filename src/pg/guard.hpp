#pragma once
// The border between C++ and the server's error handling. See src/pg/README.md.

#include "pg/pg.hpp"

#include <exception>
#include <new>
#include <type_traits>

#include "base/status.hpp"

namespace tandem::pg {

/// What guard() remembers of an exception: plain data, so that no C++ object is alive when ereport jumps.
struct CaughtException {
  int sqlstate = 0;
  char message[256] = {};
};

/// Reports a caught exception as an ERROR. Never returns.
[[noreturn]] void ReportCaught(const CaughtException& caught);

/// Reports a failed Status as an ERROR with the SQLSTATE of its kind. Never returns.
[[noreturn]] void ReportStatus(const base::Status& status);

/// Raises an ERROR if `status` is not ok.
inline void Check(const base::Status& status) {
  if (!status.ok()) ReportStatus(status);
}

/// Runs `body`, which may throw but must not call the server, and turns an exception into an ERROR.
/// The catch block is left before the error is raised: the exception object is destroyed, and the longjmp
/// crosses no live destructor of ours.
template <typename Body>
std::invoke_result_t<Body> Guard(Body&& body) {
  CaughtException caught;
  try {
    return body();
  } catch (const std::bad_alloc&) {
    caught.sqlstate = ERRCODE_OUT_OF_MEMORY;
    (std::snprintf)(caught.message, sizeof caught.message, "out of memory");
  } catch (const std::exception& error) {
    caught.sqlstate = ERRCODE_INTERNAL_ERROR;
    (std::snprintf)(caught.message, sizeof caught.message, "%s", error.what());
  } catch (...) {
    caught.sqlstate = ERRCODE_INTERNAL_ERROR;
    (std::snprintf)(caught.message, sizeof caught.message, "unknown C++ exception");
  }
  ReportCaught(caught);
}

}  // namespace tandem::pg
