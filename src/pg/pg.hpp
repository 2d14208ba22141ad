#pragma once
// The one door to the server's headers. A server-facing source file includes this first: port.h turns
// snprintf and friends into macros, which breaks standard headers that are included after it otherwise.

#include <cmath>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
}

// libintl.h and port.h rename these; C++ code means the standard ones.
#undef snprintf
#undef vsnprintf
#undef sprintf
#undef vsprintf
#undef printf
#undef fprintf
#undef vfprintf
#undef vprintf
#undef strerror

#define TANDEM_SERVER_HEADERS_SEEN 1
