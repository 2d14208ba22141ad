// What the two AVX-512 sets of code kernels share; included inside their target regions, hence without #pragma once.

namespace tandem::vec {
namespace {  // NOLINT(google-build-namespaces): a copy of its own for each file is the purpose

struct Avx512Operations {
  using Words = __m512i;  // 32 of 16 bits
  using Sums = __m512i;   // 16 of 32 bits
  static constexpr std::size_t kLanes = 32;
  static constexpr std::size_t kEncoded = 16;
  using Bytes = __m512i;
  using Levels = __m512i;  // 16 of 32 bits
  static constexpr std::size_t kBytes = 64;
  static constexpr std::size_t kLevels = 16;

  static Words Load(const std::uint8_t* from) {
    return _mm512_cvtepu8_epi16(
        _mm256_loadu_si256(static_cast<const __m256i*>(static_cast<const void*>(from))));
  }
  static Words Load(const std::int16_t* from) { return _mm512_loadu_si512(from); }

  static Words Sub(Words a, Words b) { return _mm512_sub_epi16(a, b); }
  static Words Abs(Words a) { return _mm512_abs_epi16(a); }
  static Words And(Words a, Words b) { return _mm512_and_si512(a, b); }
  static Words Ones() { return _mm512_set1_epi16(1); }
  static Sums Zero() { return _mm512_setzero_si512(); }

  static std::uint32_t Reduce(Sums sum0, Sums sum1) {
    const __m512i all = _mm512_add_epi32(sum0, sum1);
    const __m256i octet = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    const __m128i quad = _mm_add_epi32(_mm256_castsi256_si128(octet), _mm256_extracti128_si256(octet, 1));
    const __m128i pair = _mm_add_epi32(quad, _mm_unpackhi_epi64(quad, quad));
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 1))));
  }

  static void Encode(const float* x, const float* offset, float twice_inverse_step, std::uint8_t* code) {
    const __m512 half = _mm512_set1_ps(0.5F);
    const __m512 difference =
        _mm512_sub_ps(_mm512_mul_ps(_mm512_loadu_ps(x), half), _mm512_mul_ps(_mm512_loadu_ps(offset), half));
    const __m512 steps = _mm512_mul_ps(difference, _mm512_set1_ps(twice_inverse_step));
    const __m512 clamped = _mm512_min_ps(_mm512_max_ps(steps, _mm512_setzero_ps()), _mm512_set1_ps(255.0F));
    const __m128i codes = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(_mm512_add_ps(clamped, half)));
    _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(code)), codes);
  }

  static Bytes LoadBytes(const std::uint8_t* from) { return _mm512_loadu_si512(from); }
  static Bytes AndBytes(Bytes a, Bytes b) { return _mm512_and_si512(a, b); }
  static Bytes LowHalves(Bytes code) { return _mm512_and_si512(code, _mm512_set1_epi8(15)); }
  static Bytes HighHalves(Bytes code) { return LowHalves(_mm512_srli_epi16(code, 4)); }

  static Levels NoLevels() { return _mm512_setzero_si512(); }

  static Levels MakeLevels(const std::uint8_t* code, const float* centre, const float* step, Levels* terms) {
    const __m128i codes = _mm_loadu_si128(static_cast<const __m128i*>(static_cast<const void*>(code)));
    const __m512 x = _mm512_sub_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes)), _mm512_loadu_ps(centre));
    const __m512 steps = _mm512_loadu_ps(step);
    const __m512 place = _mm512_add_ps(_mm512_div_ps(x, steps), _mm512_set1_ps(8.0F));
    const __m512 clamped = _mm512_min_ps(_mm512_max_ps(place, _mm512_setzero_ps()), _mm512_set1_ps(15.0F));
    const Levels levels = _mm512_cvttps_epi32(clamped);
    const __m512 from_middle = _mm512_sub_ps(_mm512_cvtepi32_ps(levels), _mm512_set1_ps(7.5F));
    const __m512 twice_u = _mm512_mul_ps(_mm512_mul_ps(from_middle, _mm512_set1_ps(2.0F)), steps);
    const __m512 term = _mm512_mul_ps(x, _mm512_sub_ps(twice_u, x));
    *terms = _mm512_add_epi32(*terms, _mm512_cvtps_epi32(_mm512_mul_ps(term, _mm512_set1_ps(16.0F))));
    return levels;
  }

  static void StoreNibbles(Levels low, Levels high, std::uint8_t* nibbles) {
    const __m128i packed = _mm512_cvtepi32_epi8(_mm512_or_si512(low, _mm512_slli_epi32(high, 4)));
    _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(nibbles)), packed);
  }

  static std::int64_t SumOfTerms(Levels terms) {
    const __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(terms));
    const __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(terms, 1));
    return _mm512_reduce_add_epi64(_mm512_add_epi64(low, high));
  }
};

}  // namespace
}  // namespace tandem::vec
