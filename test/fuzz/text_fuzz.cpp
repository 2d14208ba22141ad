// libFuzzer target: text form of a vector. Beyond what the sanitizers see, each accepted element must be what strtof
// of the C locale reads, and a parse must not depend on what lies behind the text.

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "vec/text.hpp"

namespace {

constexpr std::size_t kCapacity = 64;

void Require(bool condition) {
  if (!condition) std::abort();
}

/// Compares `elements` with the numbers that strtof finds after each '[' or ','. The text was accepted as a whole.
void CompareWithStrtof(const std::string& text, const std::vector<float>& elements) {
  const char* at = std::strchr(text.c_str(), '[') + 1;
  for (const float element : elements) {
    char* end = nullptr;
    errno = 0;
    const float expected = std::strtof(at, &end);
    Require(end != at && std::isfinite(expected) && std::isfinite(element));
    Require(expected == element && std::signbit(expected) == std::signbit(element));
    at = end + std::strcspn(end, ",]") + 1;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  float buffer[kCapacity];
  const tandem::vec::TextResult result =
      tandem::vec::ParseVector({reinterpret_cast<const char*>(data), size}, {buffer, kCapacity});
  Require(result.offset + result.length <= size);
  if (result.fault == tandem::vec::TextFault::kNone) {
    Require(result.dimensions >= 1 && result.dimensions <= kCapacity);
    CompareWithStrtof(std::string(reinterpret_cast<const char*>(data), size),
                      std::vector<float>(buffer, buffer + result.dimensions));
  }
  return 0;
}
