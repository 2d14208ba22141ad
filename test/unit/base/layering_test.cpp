// The core is compiled without the server's include path; this file is compiled with the core's.

#include <gtest/gtest.h>

#if __has_include("postgres.h") || __has_include(<postgres.h>)
#error "the server's headers are on the core's include path"
#endif

TEST(Core, CannotSeeServerHeaders) {
  SUCCEED() << "checked by the preprocessor above";
}
