#pragma once
// Chooses what a segment's graph is walked on, and learns what that needs, from the sample that trained the 8-bit codes.

#include <cstddef>
#include <cstdint>

#include "vec/scalar_quantizer.hpp"
#include "vec/sketch.hpp"
#include "vec/walk_query.hpp"

namespace tandem::vec {

/// Fewer dimensions are always walked on 8-bit codes unless asked otherwise: a code is a few cache lines then, and what
/// 4 bits save is less than what the exact distances cost that they need in addition.
constexpr std::uint32_t kLeastDimensionsForSq4 = 512;

/// What to walk a graph on.
enum class WalkWish : std::uint8_t {
  kAuto,  ///< 4 bits where they gain something and do as well on the sample, float16 where 8 do badly on it, else 8
  kSq8,
  kSq4,  ///< not for L1
  kFp16,
  kFloat32,
};

/// True if graphs of such rows are built and walked on their bits (WalkCode::kBit): where nothing else is asked for, since nothing is
/// smaller, faster or nearer to the truth. dimensions: of the column.
[[nodiscard]] constexpr bool AreWalkedOnBits(Element element, std::size_t dimensions,
                                             WalkWish wish) noexcept {
  return element == Element::kBit && !IsSketched(element, dimensions) && wish == WalkWish::kAuto;
}

/// True if `code` is what was asked for, or nothing was asked for. bits: AreWalkedOnBits().
[[nodiscard]] constexpr bool Grants(WalkWish wish, bool bits, WalkCode code) noexcept {
  if (bits || code == WalkCode::kBit) return bits == (code == WalkCode::kBit);
  switch (wish) {
    case WalkWish::kAuto:
      return true;
    case WalkWish::kSq8:
      return code == WalkCode::kSq8;
    case WalkWish::kSq4:
      return code == WalkCode::kSq4;
    case WalkWish::kFp16:
      return code == WalkCode::kFp16;
    case WalkWish::kFloat32:
      return code == WalkCode::kFloat32;
  }
  return false;
}

/// Why a walk code was chosen. Stored in segments: numbers keep their meaning.
enum class WalkReason : std::uint32_t {
  kAsked = 0,         ///< by name
  kMetric = 1,        ///< auto: 8 bits, since L1 has no 4
  kDimensions = 2,    ///< auto: 8 bits, since there are too few dimensions for 4 to gain anything
  kSampleFar = 3,     ///< auto: 8 bits, since 4 did worse on the sample
  kSampleNear = 4,    ///< auto: 4 bits, since they do as well on the sample
  kSampleSmall = 5,   ///< auto: 8 bits, since the sample says nothing
  kSampleCoarse = 6,  ///< auto: float16, since 8 bits did badly on the sample
  kBits = 7,          ///< auto: the bits that rows are made of
};
constexpr std::uint32_t kWalkReasons = 8;

/// How well a walk code keeps the distances within the sample.
struct WalkTrial {
  /// For WalkCodec::error; infinity if the sample has too few different vectors to tell. Codes made of vectors: half as much again as the
  /// sample's largest WalkResidual().
  float error = 0.0F;
  /// For WalkCodec::reach: half as much again as the sample's largest residual (codes made of vectors: Sq8Residual()) and a
  /// bit; infinity if the sample is too small.
  float reach = 0.0F;
  float shared_error = 0.0F;  ///< for WalkCodec::shared_error
  /// Exact distances that the ten nearest cost, at the most, for nine of ten queries: those of all vectors whose lower bound
  /// is below the tenth distance. Counted up to 256; 0 if the sample is too small.
  std::uint32_t depth = 0;
};

struct WalkDecision {
  WalkCode code = WalkCode::kSq8;
  WalkReason reason = WalkReason::kDimensions;
  WalkTrial trial;  ///< of `code`
};

/// A bound as segments keep it: no smaller than `value`, infinity if it is beyond float32.
[[nodiscard]] float RoundedUp(double value) noexcept;

/// Of the sample of `trainer` with codes of `base`. Writes WalkCodec::centre and step: `dimensions` floats each.
/// Throws std::bad_alloc.
void TrainNibbles(const ScalarQuantizerTrainer& trainer, const ScalarQuantizer& base, float* centre,
                  float* step);

/// Compares keys of `codec`, whose `error` is ignored, with distances, of all different vectors of the sample. The error is the largest that was seen among the 50
/// nearest of some 100 vectors of the sample, or what five standard deviations reach beyond the mean, whichever is more;
/// and no less than what 98 % stay below of queries as near as the sample has none, vectors of it moved a bit. (The rest
/// are vectors that the code clips a lot: what is nearer to one of these than the error may come out of order.)
/// Inner products: half as much again, since a table's nearest are farther out than those of a sample.
/// Takes about 50 ms for 8 MB of samples. Throws std::bad_alloc.
[[nodiscard]] WalkTrial TryWalkCode(const ScalarQuantizerTrainer& trainer, const WalkCodec& codec);

/// kSq4 if wished for, or if there are dimensions enough and TryWalkCode() finds it good; never for L1. Of those who do not
/// ask, kFp16 if 8 bits need many exact distances and it needs few. Writes centre and
/// step, as TrainNibbles() does, only if the answer is kSq4. The same sample gives the same answer on every CPU, except that
/// exact distances may round differently. Throws std::bad_alloc.
[[nodiscard]] WalkDecision ChooseWalkCode(const ScalarQuantizerTrainer& trainer, const ScalarQuantizer& base,
                                          WalkWish wish, float* centre, float* step);

}  // namespace tandem::vec
