#include "base/status.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <type_traits>

namespace tandem::base {
namespace {

TEST(Status, IsOkByDefaultAndSaysNothing) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.kind(), ErrorKind::kOk);
  EXPECT_STREQ(status.message(), "");
}

TEST(Status, CarriesTheKindAndTheFormattedMessage) {
  const Status status = Status::Error(ErrorKind::kDataException, "expected %d dimensions, not %d", 3, 4);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(status.kind(), ErrorKind::kDataException);
  EXPECT_STREQ(status.message(), "expected 3 dimensions, not 4");
}

TEST(Status, KeepsEveryKind) {
  for (const ErrorKind kind : {ErrorKind::kInvalidText, ErrorKind::kOutOfRange, ErrorKind::kDataException,
                               ErrorKind::kLimitExceeded, ErrorKind::kCorrupted, ErrorKind::kCancelled}) {
    const Status status = Status::Error(kind, "failed");
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.kind(), kind);
  }
}

TEST(Status, CutsALongMessageAndStaysTerminated) {
  const std::string text(1'000, 'x');
  const Status status = Status::Error(ErrorKind::kInvalidText, "%s", text.c_str());
  EXPECT_EQ(std::string(status.message()), text.substr(0, 254));
}

TEST(Status, TakesPercentSignsInArgumentsLiterally) {
  const Status status = Status::Error(ErrorKind::kInvalidText, "bad input \"%s\"", "%n%s");
  EXPECT_STREQ(status.message(), "bad input \"%n%s\"");
}

TEST(Status, SurvivesBeingCopiedAsBytes) {
  static_assert(std::is_trivially_copyable_v<Status>);
  static_assert(std::is_trivially_destructible_v<Status>, "a longjmp may discard it");
  const Status original = Status::Error(ErrorKind::kCorrupted, "block %u", 17U);
  Status copy;
  std::memcpy(&copy, &original, sizeof copy);
  EXPECT_EQ(copy.kind(), ErrorKind::kCorrupted);
  EXPECT_STREQ(copy.message(), "block 17");
}

}  // namespace
}  // namespace tandem::base
