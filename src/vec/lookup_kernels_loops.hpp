// The loops that every instruction set shares, over the `Simd` operations that the including file defined just before.
// The rules of kernels_loops.hpp hold here, too: no #pragma once, nothing of the standard library.
//
// Simd provides: kFloats and Within() of so many rows; Register, kColumns (of 16 rows' bytes that it holds), Zero, Load, LoadRows (bytes of the first rows of each column;
// touches no other), LowHalves, HighHalves (of bytes), LookUp (column by column), AddBytes, AddWords (of 16 bits), HighBytes (of
// words) and StoreSums.

namespace tandem::vec {
namespace {  // NOLINT(google-build-namespaces): a copy of its own for each file is the purpose

/// Entries of a register's columns.
inline Simd::Register LookUpBoth(const std::uint8_t* low, const std::uint8_t* high, Simd::Register bits) {
  return Simd::AddBytes(Simd::LookUp(Simd::Load(low), Simd::LowHalves(bits)),
                        Simd::LookUp(Simd::Load(high), Simd::HighHalves(bits)));
}

/// rows: below kLookupRows if that is all that may be read.
template <bool kIsWhole>
inline Simd::Register LoadColumns(const std::uint8_t* from, std::size_t rows) {
  if constexpr (kIsWhole) return Simd::Load(from);
  return Simd::LoadRows(from, rows);
}

template <bool kIsWhole>
inline void SumBlock(const std::uint8_t* tables, std::size_t bytes, const std::uint8_t* block,
                     std::size_t rows, std::uint16_t* sums) {
  constexpr std::size_t kRegister = Simd::kColumns * kLookupRows;
  // Sums of even rows in the lower halves of words and of odd ones in the upper halves, where they overflow; and of odd ones by
  // themselves, which tells what has overflowed.
  Simd::Register both = Simd::Zero();
  Simd::Register odd = Simd::Zero();
  const std::uint8_t* high = tables + 16 * bytes;
  const std::size_t end = bytes * kLookupRows;
  for (std::size_t at = 0; at < end; at += 2 * kRegister) {
    const Simd::Register a = LoadColumns<kIsWhole>(block + at, rows);
    const Simd::Register b = LoadColumns<kIsWhole>(block + at + kRegister, rows);
    const Simd::Register sum = Simd::AddBytes(LookUpBoth(tables + at, high + at, a),
                                              LookUpBoth(tables + at + kRegister, high + at + kRegister, b));
    both = Simd::AddWords(both, sum);
    odd = Simd::AddWords(odd, Simd::HighBytes(sum));
  }
  Simd::StoreSums(both, odd, sums);
}

inline void SumEntries(const std::uint8_t* tables, std::size_t bytes, const std::uint8_t* blocks,
                       std::size_t count, std::uint16_t* sums) {
  std::size_t i = 0;
  for (; i + kLookupRows <= count; i += kLookupRows)
    SumBlock<true>(tables, bytes, blocks + i * bytes, kLookupRows, sums + i);
  if (i < count) SumBlock<false>(tables, bytes, blocks + i * bytes, count - i, sums + i);
}

inline std::uint64_t Within(const BoundWeights& weights, const BoundRows& rows, std::size_t count,
                            float cut) {
  std::uint64_t within = 0;
  std::size_t i = 0;
  for (; i + Simd::kFloats <= count; i += Simd::kFloats)
    within |= std::uint64_t{Simd::Within(weights, rows, i, cut)} << i;
  if (i == count) return within;
  // Copied, not computed one by one: here the compiler might multiply and add in one.
  const std::size_t left = count - i;
  std::uint16_t sums[Simd::kFloats] = {};
  float terms[Simd::kFloats] = {};
  float scales[Simd::kFloats] = {};
  float spreads[Simd::kFloats] = {};
  __builtin_memcpy(sums, rows.sums + i, left * sizeof *sums);
  __builtin_memcpy(terms, rows.terms + i, left * sizeof *terms);
  __builtin_memcpy(scales, rows.scales + i, left * sizeof *scales);
  __builtin_memcpy(spreads, rows.spreads + i, left * sizeof *spreads);
  const std::uint64_t last = Simd::Within(weights, {sums, terms, scales, spreads}, 0, cut);
  return within | (last & ((std::uint64_t{1} << left) - 1U)) << i;
}

constexpr LookupKernels MakeLookupKernels(const char* name) {
  return {name, SumEntries, Within, true};
}

}  // namespace
}  // namespace tandem::vec
