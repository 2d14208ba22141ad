// The `Simd` operations of bit_kernels_loops.hpp on one 64-bit word at a time: the compiler makes of the builtin what
// the target in force has, one instruction or several. Included once per file, inside its target region, like the loops, and hence without #pragma once.

namespace tandem::vec {
namespace {  // NOLINT(google-build-namespaces): a copy of its own for each file is the purpose

struct Simd {
  using Register = std::uint64_t;
  static constexpr std::size_t kBytes = 8;

  static Register Zero() { return 0; }

  static Register Load(const unsigned char* from) {
    Register loaded;
    __builtin_memcpy(&loaded, from, sizeof loaded);
    return loaded;
  }

  static Register LoadFirst(const unsigned char* from, std::size_t count) {
    Register loaded = 0;
    __builtin_memcpy(&loaded, from, count);
    return loaded;
  }

  static Register And(Register a, Register b) { return a & b; }
  static Register Xor(Register a, Register b) { return a ^ b; }
  static Register Count(Register a) { return static_cast<Register>(__builtin_popcountll(a)); }
  static Register Add(Register a, Register b) { return a + b; }
  static std::uint64_t Sum(Register a) { return a; }
};

}  // namespace
}  // namespace tandem::vec
