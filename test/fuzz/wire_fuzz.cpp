// libFuzzer target: binary form of a vector, checked in the order in which the receive function does. What is
// accepted must be finite and encode to the same bytes again.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "vec/wire.hpp"

namespace {

constexpr std::size_t kMaxDimensions = 16000;

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tandem::vec;
  if (size < kWireHeaderBytes) return 0;
  const WireHeader header = DecodeWireHeader({data, kWireHeaderBytes});
  if (header.reserved != 0 || header.dimensions < 1 || header.dimensions > kMaxDimensions) return 0;
  if (size < WireBytes(header.dimensions)) return 0;
  // Exact allocations, so that one byte too far is seen.
  const std::vector<unsigned char> body(data + kWireHeaderBytes, data + WireBytes(header.dimensions));
  std::vector<float> elements(header.dimensions);
  const ElementFault fault =
      DecodeWireElements({body.data(), body.size()}, {elements.data(), elements.size()});
  bool finite = true;
  for (const float element : elements) finite = finite && std::isfinite(element);
  Require(finite == (fault == ElementFault::kNone));
  if (!finite) return 0;
  std::vector<unsigned char> encoded(WireBytes(elements.size()));
  EncodeWire({elements.data(), elements.size()}, encoded.data());
  Require(std::memcmp(encoded.data(), data, encoded.size()) == 0);
  return 0;
}
