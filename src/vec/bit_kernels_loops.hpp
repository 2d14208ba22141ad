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

// A few words are counted sooner, one by one, than the lanes of a long register are added up.
constexpr std::size_t kWordBytes = sizeof(std::uint64_t);
constexpr std::size_t kFewBytes = Simd::kBytes > kWordBytes ? Simd::kBytes : 0;

inline std::uint64_t LoadWord(const unsigned char* from, std::size_t bytes) {
  std::uint64_t word = 0;
  __builtin_memcpy(&word, from, bytes);
  return word;
}

inline std::uint32_t CountOfWord(std::uint64_t word) {
  return static_cast<std::uint32_t>(__builtin_popcountll(word));
}

inline BitDifference DifferenceOfFew(const unsigned char* a, const unsigned char* b, std::size_t bytes) {
  BitDifference sums = {0, 0};
  for (std::size_t at = 0; at < bytes; at += kWordBytes) {
    const std::size_t left = bytes - at;
    // Of a whole word the length is known to the compiler, and the load is one instruction.
    const std::uint64_t x = left >= kWordBytes ? LoadWord(a + at, kWordBytes) : LoadWord(a + at, left);
    const std::uint64_t y = left >= kWordBytes ? LoadWord(b + at, kWordBytes) : LoadWord(b + at, left);
    sums.different += CountOfWord(x ^ y);
    sums.both += CountOfWord(x & y);
  }
  return sums;
}

inline void HammingToMany(const unsigned char* query, const unsigned char* const* codes, std::size_t count,
                          std::size_t bytes, std::uint32_t* counts) {
  if (bytes < kFewBytes) {
    for (std::size_t i = 0; i < count; ++i) counts[i] = DifferenceOfFew(query, codes[i], bytes).different;
    return;
  }
  for (std::size_t i = 0; i < count; ++i)
    counts[i] = static_cast<std::uint32_t>(Hamming(query, codes[i], bytes));
}

/// Two running sums, likewise without initialisers.
struct DifferenceSums {
  Simd::Register different;
  Simd::Register both;

  void Add(Simd::Register a, Simd::Register b) {
    different = Simd::Add(different, Simd::Count(Simd::Xor(a, b)));
    both = Simd::Add(both, Simd::Count(Simd::And(a, b)));
  }
};

inline BitDifference Difference(const unsigned char* a, const unsigned char* b, std::size_t bytes) {
  DifferenceSums sums = {Simd::Zero(), Simd::Zero()};
  for (; bytes >= Simd::kBytes; bytes -= Simd::kBytes, a += Simd::kBytes, b += Simd::kBytes)
    sums.Add(Simd::Load(a), Simd::Load(b));
  if (bytes > 0) sums.Add(Simd::LoadFirst(a, bytes), Simd::LoadFirst(b, bytes));
  return {static_cast<std::uint32_t>(Simd::Sum(sums.different)),
          static_cast<std::uint32_t>(Simd::Sum(sums.both))};
}

inline void OverlapsWithMany(const unsigned char* query, const unsigned char* const* codes, std::size_t count,
                             std::size_t bytes, BitDifference* counts) {
  for (std::size_t i = 0; i < count; ++i) {
    counts[i] =
        bytes < kFewBytes ? DifferenceOfFew(query, codes[i], bytes) : Difference(query, codes[i], bytes);
  }
}

constexpr BitKernels MakeBitKernels(const char* name) {
  return {name, Hamming, Overlap, HammingToMany, OverlapsWithMany};
}

}  // namespace
}  // namespace tandem::vec
