// The loops that every instruction set shares, over the `Simd` operations that the including file defined just before.
// The rules of kernels_loops.hpp hold here, too: no #pragma once, nothing of the standard library.
//
// Simd provides: Register, kBytes, Zero, Load, LoadFirst (the rest reads as zero and touches no memory), And, Xor, Count
// (of set bits, per lane of 64), Add (per lane), Sum (of lanes), SumBoth (of lanes of two registers, each below 2^32) and
// kCountsFast.

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

/// Running sums of a row's planes. Without initialisers, see FourSums in kernels_loops.hpp.
struct PlaneSums {
  Simd::Register of1;
  Simd::Register of2;
  Simd::Register of4;
  Simd::Register of8;

  void Clear() { of1 = of2 = of4 = of8 = Simd::Zero(); }

  void Add(Simd::Register row, Simd::Register p1, Simd::Register p2, Simd::Register p4, Simd::Register p8) {
    of1 = Simd::Add(of1, Simd::Count(Simd::Xor(row, p1)));
    of2 = Simd::Add(of2, Simd::Count(Simd::Xor(row, p2)));
    of4 = Simd::Add(of4, Simd::Count(Simd::Xor(row, p4)));
    of8 = Simd::Add(of8, Simd::Count(Simd::Xor(row, p8)));
  }

  [[nodiscard]] Simd::Register Weighted() const {
    const Simd::Register of48 = Simd::Add(of4, Simd::Add(of8, of8));
    const Simd::Register of248 = Simd::Add(of2, Simd::Add(of48, of48));
    return Simd::Add(of1, Simd::Add(of248, of248));
  }
};

/// Two rows at a time share what is loaded of the planes.
inline void SumPlanes(const unsigned char* planes, std::size_t bytes, const unsigned char* rows,
                      std::size_t count, std::uint32_t* sums) {
  const unsigned char* plane2 = planes + bytes;
  const unsigned char* plane4 = plane2 + bytes;
  const unsigned char* plane8 = plane4 + bytes;
  for (std::size_t i = 0; i < count; i += 2) {
    const unsigned char* a = rows + i * bytes;
    const unsigned char* b = i + 1 < count ? a + bytes : a;
    PlaneSums in_a;
    PlaneSums in_b;
    in_a.Clear();
    in_b.Clear();
    std::size_t at = 0;
    for (; at + Simd::kBytes <= bytes; at += Simd::kBytes) {
      const Simd::Register p1 = Simd::Load(planes + at);
      const Simd::Register p2 = Simd::Load(plane2 + at);
      const Simd::Register p4 = Simd::Load(plane4 + at);
      const Simd::Register p8 = Simd::Load(plane8 + at);
      in_a.Add(Simd::Load(a + at), p1, p2, p4, p8);
      in_b.Add(Simd::Load(b + at), p1, p2, p4, p8);
    }
    if (at < bytes) {
      const std::size_t rest = bytes - at;
      const Simd::Register p1 = Simd::LoadFirst(planes + at, rest);
      const Simd::Register p2 = Simd::LoadFirst(plane2 + at, rest);
      const Simd::Register p4 = Simd::LoadFirst(plane4 + at, rest);
      const Simd::Register p8 = Simd::LoadFirst(plane8 + at, rest);
      in_a.Add(Simd::LoadFirst(a + at, rest), p1, p2, p4, p8);
      in_b.Add(Simd::LoadFirst(b + at, rest), p1, p2, p4, p8);
    }
    const std::uint64_t both = Simd::SumBoth(in_a.Weighted(), in_b.Weighted());
    sums[i] = static_cast<std::uint32_t>(both);
    if (i + 1 < count) sums[i + 1] = static_cast<std::uint32_t>(both >> 32);
  }
}

constexpr BitKernels MakeBitKernels(const char* name) {
  return {name, Hamming, Overlap, SumPlanes, Simd::kCountsFast};
}

}  // namespace
}  // namespace tandem::vec
