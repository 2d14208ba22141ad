// The loops that every instruction set shares, over the `Simd` operations that the including file defined just before.
// The rules of kernels_loops.hpp hold here, too: no #pragma once, nothing of the standard library.
//
// Simd provides: Register, kBytes, Zero, Load, LoadFirst (the rest reads as zero and touches no memory), And, Xor, Count
// (of set bits, per lane of 64), Add (per lane) and Sum (of lanes).

namespace tandem::vec {
namespace {  // NOLINT(google-build-namespaces): a copy of its own for each file is the purpose

inline std::uint64_t Hamming(const unsigned char* a, const unsigned char* b, std::size_t bytes) {
  Simd::Register sum = Simd::Zero();
  for (; bytes >= Simd::kBytes; bytes -= Simd::kBytes, a += Simd::kBytes, b += Simd::kBytes)
    sum = Simd::Add(sum, Simd::Count(Simd::Xor(Simd::Load(a), Simd::Load(b))));
  if (bytes > 0)
    sum = Simd::Add(sum, Simd::Count(Simd::Xor(Simd::LoadFirst(a, bytes), Simd::LoadFirst(b, bytes))));
  return Simd::Sum(sum);
}

/// Three running sums. Without initialisers, see FourSums in kernels_loops.hpp.
struct OverlapSums {
  Simd::Register both;
  Simd::Register in_a;
  Simd::Register in_b;

  void Add(Simd::Register a, Simd::Register b) {
    both = Simd::Add(both, Simd::Count(Simd::And(a, b)));
    in_a = Simd::Add(in_a, Simd::Count(a));
    in_b = Simd::Add(in_b, Simd::Count(b));
  }
};

inline BitOverlap Overlap(const unsigned char* a, const unsigned char* b, std::size_t bytes) {
  OverlapSums sums = {Simd::Zero(), Simd::Zero(), Simd::Zero()};
  for (; bytes >= Simd::kBytes; bytes -= Simd::kBytes, a += Simd::kBytes, b += Simd::kBytes)
    sums.Add(Simd::Load(a), Simd::Load(b));
  if (bytes > 0) sums.Add(Simd::LoadFirst(a, bytes), Simd::LoadFirst(b, bytes));
  return {Simd::Sum(sums.both), Simd::Sum(sums.in_a), Simd::Sum(sums.in_b)};
}

constexpr BitKernels MakeBitKernels(const char* name) {
  return {name, Hamming, Overlap};
}

}  // namespace
}  // namespace tandem::vec
