#pragma once
// Chooses what a segment's graph is walked on, and learns what that needs, from the sample that trained the 8-bit codes.

#include <cstddef>
#include <cstdint>

#include "vec/scalar_quantizer.hpp"
#include "vec/walk_query.hpp"

namespace tandem::vec {

/// Fewer dimensions are always walked on 8-bit codes unless asked otherwise: a code is a few cache lines then, and what
/// 4 bits save is less than what the exact distances cost that they need in addition.
constexpr std::uint32_t kLeastDimensionsForSq4 = 512;

/// What to walk a graph on.
enum class WalkWish : std::uint8_t {
  kAuto,  ///< 4 bits where they gain something and do as well on the sample, else 8
  kSq8,
  kSq4,  ///< not for L1
};

/// Why a walk code was chosen. Stored in segments: numbers keep their meaning.
enum class WalkReason : std::uint32_t {
  kAsked = 0,        ///< by name
  kMetric = 1,       ///< auto: 8 bits, since L1 has no others
  kDimensions = 2,   ///< auto: 8 bits, since there are too few dimensions for 4 to gain anything
  kSampleFar = 3,    ///< auto: 8 bits, since 4 did worse on the sample
  kSampleNear = 4,   ///< auto: 4 bits, since they do as well on the sample
  kSampleSmall = 5,  ///< auto: 8 bits, since the sample says nothing
};
constexpr std::uint32_t kWalkReasons = 6;

/// How well a walk code keeps the distances within the sample.
struct WalkTrial {
  float error = 0.0F;  ///< for WalkCodec::error; infinity if the sample is too small to tell
  float reach = 0.0F;  ///< for WalkCodec::reach: half as much again as the sample's largest residual
                       ///< and a bit; infinity with an unknown error
  /// Exact distances that the ten nearest cost, at the most, for nine of ten queries: those of all vectors whose lower bound
  /// is below the tenth distance. Counted up to 256; 0 if the sample is too small.
  std::uint32_t depth = 0;
};

struct WalkDecision {
  WalkCode code = WalkCode::kSq8;
  WalkReason reason = WalkReason::kDimensions;
  WalkTrial trial;  ///< of `code`
};

/// Of the sample of `trainer` with codes of `base`. Writes WalkCodec::centre and step: `dimensions` floats each.
/// Throws std::bad_alloc.
void TrainNibbles(const ScalarQuantizerTrainer& trainer, const ScalarQuantizer& base, float* centre,
                  float* step);

/// Compares keys of `codec`, whose `error` is ignored, with distances. The error is the largest that was seen among the 50
/// nearest of some 100 vectors of the sample, or what five standard deviations reach beyond the mean, whichever is more;
/// and no less than what 98 % stay below of queries as near as the sample has none, vectors of it moved a bit. (The rest
/// are vectors that the code clips a lot: what is nearer to one of these than the error may come out of order.)
/// Inner products: half as much again, since a table's nearest are farther out than those of a sample.
/// Takes about 50 ms for 8 MB of samples. Throws std::bad_alloc.
[[nodiscard]] WalkTrial TryWalkCode(const ScalarQuantizerTrainer& trainer, const WalkCodec& codec);

/// kSq4 if wished for, or if there are dimensions enough and TryWalkCode() finds it good; never for L1. Writes centre and
/// step, as TrainNibbles() does, only if the answer is kSq4. The same sample gives the same answer on every CPU, except that
/// exact distances may round differently. Throws std::bad_alloc.
[[nodiscard]] WalkDecision ChooseWalkCode(const ScalarQuantizerTrainer& trainer, const ScalarQuantizer& base,
                                          WalkWish wish, float* centre, float* step);

}  // namespace tandem::vec
