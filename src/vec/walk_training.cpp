// Training and choice of walk codes.

#include "vec/walk_training.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/span.hpp"
#include "vec/nibble_levels.hpp"

namespace tandem::vec {
namespace {

constexpr std::size_t kQueries = 128;
constexpr std::size_t kNearest = 10;        // whose depth is asked for
constexpr std::size_t kMeasured = 50;       // nearest by distance, whose errors count
constexpr std::size_t kCounted = 256;       // nearest by code, up to which the depth is counted
constexpr std::size_t kFewestSamples = 20;  // different ones; fewer say nothing
constexpr double kDepthShare = 0.9;
// In a table depths are two to three times those of its sample. More of them cost what 4 bits save.
constexpr std::uint32_t kDeepest = 24;
// Beyond so many of them 8 bits cost more exact distances than the twice as many bytes of float16 cost time.
constexpr std::uint32_t kDeepestSq8 = 64;
constexpr std::size_t kMostShared = 64;  // one in so many
constexpr double kDeviations = 5.0;
constexpr double kLeftOut =
    0.02;  // of the moved queries: vectors that 8 bits clip a lot are rare, and near ones of them
constexpr double kReachMargin = 1.5;  // of the largest residual of the sample
constexpr double kFartherOut = 1.5;   // inner products
// How many standard deviations the levels may reach to either side.
constexpr double kReaches[] = {1.5, 2.0, 2.5, 2.75, 3.0, 3.5, 4.5, 6.0};
// How far a query is moved towards a neighbour, as shares of that distance; 0: the query is the vector itself.
constexpr double kMoves[] = {0.0, 1.0 / 64, 1.0 / 16, 1.0 / 4, 1.0 / 2};

/// What was seen, and how far beyond it others may lie.
class Spread {
 public:
  void Add(double value) {
    if (std::isfinite(value))
      values_.push_back(value);  // not those of vectors so large that true distances overflow
  }

  /// What all but that share stay below.
  [[nodiscard]] double AllBut(double share) {
    if (values_.empty()) return 0.0;
    const auto place = static_cast<std::ptrdiff_t>((1.0 - share) * static_cast<double>(values_.size() - 1));
    std::nth_element(values_.begin(), values_.begin() + place, values_.end());
    return values_[static_cast<std::size_t>(place)];
  }

  /// The largest, or kDeviations beyond the mean: of the deviation upwards alone, since that downwards harms nobody.
  [[nodiscard]] double Reach() const {
    if (values_.empty()) return 0.0;
    const auto count = static_cast<double>(values_.size());
    double sum = 0.0;
    for (const double value : values_) sum += value;
    const double mean = sum / count;
    double largest = mean;
    double squares_above = 0.0;
    for (const double value : values_) {
      const double above = std::max(0.0, value - mean);
      squares_above += above * above;
      largest = std::max(largest, value);
    }
    return std::max(largest, mean + kDeviations * std::sqrt(2.0 * squares_above / count));
  }

 private:
  std::vector<double> values_;
};

/// The ten nearest of a query, by truth and by code. Distances as WalkCodec::error has them.
struct Ranking {
  double tenth;                 ///< the true one
  std::vector<double> by_code;  ///< ascending, kCounted at the most
};

/// A distance in the units of WalkCodec::error, from one in those of QueryDistance::Key().
double Additive(Metric metric, double key, double query_norm) noexcept {
  switch (metric) {
    case Metric::kL2:
      return std::sqrt(std::max(0.0, key));
    case Metric::kCosine:
      return std::sqrt(std::max(0.0, 2.0 * key));
    case Metric::kInnerProduct:
      return query_norm > 0.0 ? key / query_norm : 0.0;
    case Metric::kL1:
      return key;
  }
  return 0.0;
}

/// Each vector of the sample once, in its order. Where most are equal, the nearest of each are its twins, whose distances have no
/// error whatever the code does to others.
std::vector<const float*> DifferentOnes(base::Span<const float> samples, std::size_t dimensions) {
  std::vector<const float*> vectors;
  std::unordered_set<std::string_view> seen;
  for (const float* vector = samples.begin(); vector != samples.end(); vector += dimensions) {
    const auto* bytes = reinterpret_cast<const char*>(vector);
    if (seen.emplace(bytes, dimensions * sizeof(float)).second) vectors.push_back(vector);
  }
  return vectors;
}

/// The sample in both forms, and one query after the other compared with all of it.
class Trial {
 public:
  Trial(const ScalarQuantizerTrainer& trainer, const WalkCodec& codec);

  void Run();
  [[nodiscard]] WalkTrial Result();

 private:
  [[nodiscard]] const float* Sample(std::size_t i) const noexcept { return samples_[i]; }
  [[nodiscard]] const std::uint8_t* Code(std::size_t i) const noexcept {
    return codes_.data() + i * code_bytes_;
  }
  void Compare(std::size_t sample);
  void CompareMoved(std::size_t sample, std::size_t neighbour);
  [[nodiscard]] double Excess(const WalkQuery& query, float key, double exact,
                              double query_norm) const noexcept;
  void KeepRanking(const WalkQuery& query, double tenth, double query_norm);
  [[nodiscard]] std::uint32_t Depth(double error) const;
  [[nodiscard]] double Norm(const float* vector) const noexcept;

  const std::size_t dimensions_;
  const std::vector<const float*> samples_;
  const std::size_t count_;
  const WalkCodec codec_;
  const std::size_t code_bytes_;
  std::vector<std::uint8_t> codes_;
  std::vector<const std::uint8_t*> code_of_;
  std::vector<char> scratch_memory_;
  void* scratch_;
  std::vector<float> keys_;
  std::vector<std::pair<double, std::uint32_t>> by_distance_;
  std::vector<float> moved_;
  Spread near_;
  std::array<Spread, std::size(kMoves)> moved_excess_;
  std::vector<Ranking> rankings_;
  double largest_residual_ = 0.0;
  double largest_sq8_residual_ = 0.0;
};

WalkCodec WithoutError(const WalkCodec& codec) noexcept {
  WalkCodec exact = codec;
  exact.error = exact.shared_error = 0.0F;
  return exact;
}

void* AlignedTo64(std::vector<char>* memory, std::size_t bytes) {
  memory->resize(bytes + 64);
  void* place = memory->data();
  std::size_t space = memory->size();
  return std::align(64, bytes, place, space);
}

Trial::Trial(const ScalarQuantizerTrainer& trainer, const WalkCodec& codec)
    : dimensions_(codec.base.dimensions),
      samples_(DifferentOnes(trainer.Samples(), dimensions_)),
      count_(samples_.size()),
      codec_(WithoutError(codec)),
      code_bytes_(WalkCodeBytes(codec.code, dimensions_)),
      codes_(count_ * code_bytes_),
      code_of_(count_),
      scratch_(AlignedTo64(&scratch_memory_, WalkQuery::ScratchBytes(dimensions_))),
      keys_(count_),
      moved_(dimensions_) {
  std::vector<std::uint8_t> code8(dimensions_);
  for (std::size_t i = 0; i < count_; ++i) {
    EncodeVector(codec_.base, Sample(i), code8.data());
    std::uint8_t* code = codes_.data() + i * code_bytes_;
    if (IsMadeOfVectors(codec_.code)) {
      MakeWalkCode(codec_, Sample(i), code);
    } else {
      MakeWalkCode(codec_, code8.data(), code);
    }
    code_of_[i] = code;
    largest_residual_ = std::max(largest_residual_, WalkResidual(codec_, Sample(i), code8.data()));
    largest_sq8_residual_ = std::max(largest_sq8_residual_, Sq8Residual(codec_, Sample(i), code8.data()));
  }
}

void Trial::Run() {
  if (count_ < kFewestSamples) return;
  const std::size_t queries = std::min(count_, kQueries);
  for (std::size_t q = 0; q < queries; ++q) Compare(q * count_ / queries);
}

void Trial::Compare(std::size_t sample) {
  const float* vector = Sample(sample);
  const WalkQuery query(codec_, vector, scratch_);
  query.Keys(code_of_.data(), count_, keys_.data());
  const QueryDistance exact(codec_.base.metric, vector, dimensions_);
  by_distance_.clear();
  for (std::uint32_t i = 0; i < count_; ++i) {
    const double distance = exact.Key(Sample(i));
    if (i != sample && std::isfinite(distance)) by_distance_.emplace_back(distance, i);
  }
  const std::size_t measured = std::min(by_distance_.size(), kMeasured);
  std::partial_sort(by_distance_.begin(), by_distance_.begin() + static_cast<std::ptrdiff_t>(measured),
                    by_distance_.end());
  keys_[sample] = std::numeric_limits<float>::infinity();  // nobody's rank depends on it
  const double norm = Norm(vector);
  for (std::size_t i = 0; i < measured; ++i) {
    const auto [distance, neighbour] = by_distance_[i];
    near_.Add(Excess(query, keys_[neighbour], distance, norm));
  }
  if (measured < kNearest) return;
  KeepRanking(query, Additive(codec_.base.metric, by_distance_[kNearest - 1].first, norm), norm);
  CompareMoved(sample, by_distance_[0].second);
}

void Trial::KeepRanking(const WalkQuery& query, double tenth, double query_norm) {
  const std::size_t counted =
      std::min(keys_.size() - 1, kCounted);  // the last is the query itself, at infinity
  std::partial_sort(keys_.begin(), keys_.begin() + static_cast<std::ptrdiff_t>(counted), keys_.end());
  Ranking ranking = {tenth, {}};
  for (std::size_t i = 0; i < counted; ++i) {
    ranking.by_code.push_back(Additive(codec_.base.metric, query.LowerBound(keys_[i]), query_norm));
  }
  rankings_.push_back(std::move(ranking));
}

/// The sample has no vectors as near as a full table has.
void Trial::CompareMoved(std::size_t sample, std::size_t neighbour) {
  for (std::size_t m = 0; m < std::size(kMoves); ++m) {
    for (std::size_t d = 0; d < dimensions_; ++d) {
      const double from = Sample(sample)[d];
      moved_[d] = static_cast<float>(from + kMoves[m] * (static_cast<double>(Sample(neighbour)[d]) - from));
    }
    const WalkQuery query(codec_, moved_.data(), scratch_);
    const QueryDistance exact(codec_.base.metric, moved_.data(), dimensions_);
    moved_excess_[m].Add(
        Excess(query, query.Key(Code(sample)), exact.Key(Sample(sample)), Norm(moved_.data())));
  }
}

/// By how much the distance by code exceeds the true one.
double Trial::Excess(const WalkQuery& query, float key, double exact, double query_norm) const noexcept {
  const Metric metric = codec_.base.metric;
  return Additive(metric, query.LowerBound(key), query_norm) - Additive(metric, exact, query_norm);
}

double Trial::Norm(const float* vector) const noexcept {
  double sum = 0.0;
  for (std::size_t d = 0; d < dimensions_; ++d)
    sum += static_cast<double>(vector[d]) * static_cast<double>(vector[d]);
  return std::sqrt(sum);
}

WalkTrial Trial::Result() {
  constexpr float kUnknown = std::numeric_limits<float>::infinity();
  const double step = codec_.base.step;
  if (IsMadeOfVectors(codec_.code)) {
    // Every row is looked at when it is added: of what the sample says, only what others are like is in doubt.
    const float error = RoundedUp(kReachMargin * largest_residual_);
    const float reach =
        rankings_.empty() ? kUnknown : static_cast<float>(kReachMargin * largest_sq8_residual_ + step / 2.0);
    return {error, reach, RoundedUp(largest_sq8_residual_),
            rankings_.empty() ? 0 : Depth(static_cast<double>(error))};
  }
  if (rankings_.empty()) return {kUnknown, kUnknown, 0.0F, 0};
  double error = std::max(0.0, near_.Reach());
  for (Spread& excess : moved_excess_) error = std::max(error, excess.AllBut(kLeftOut));
  if (codec_.base.metric == Metric::kInnerProduct) error *= kFartherOut;
  return {RoundedUp(error), static_cast<float>(kReachMargin * largest_residual_ + step / 2.0), 0.0F,
          Depth(error)};
}

std::uint32_t Trial::Depth(double error) const {
  std::vector<std::uint32_t> depths;
  for (const Ranking& ranking : rankings_) {
    const auto end = std::lower_bound(ranking.by_code.begin(), ranking.by_code.end(), ranking.tenth + error);
    depths.push_back(static_cast<std::uint32_t>(end - ranking.by_code.begin()));
  }
  const auto place = static_cast<std::ptrdiff_t>(kDepthShare * static_cast<double>(depths.size() - 1));
  std::nth_element(depths.begin(), depths.begin() + place, depths.end());
  return depths[static_cast<std::size_t>(place)];
}

// ---- 4 bits ----

/// How often a dimension's 8-bit codes occur in the sample, without those that do not.
struct Occurrence {
  double code;
  double count;
};

/// The middle of the levels and the distance between two.
struct Levels {
  double centre;
  double step;
};

double ToQuarters(double value) noexcept {
  return std::floor(4.0 * value) / 4.0;
}

double SquaredError(const std::vector<Occurrence>& occurrences, Levels levels) noexcept {
  double sum = 0.0;
  for (const Occurrence& occurrence : occurrences) {
    const double x = occurrence.code - levels.centre;
    const double error = x - LevelFor(x, levels.step);
    sum += occurrence.count * error * error;
  }
  return sum;
}

/// Of steps that reach so and so far from the mean, and of some centres for each, those with the least squared error. With
/// most of them the most frequent code is a level: what most vectors share, as the zeros of sparse ones, must not look
/// like a difference.
Levels BestLevels(const std::vector<Occurrence>& occurrences) noexcept {
  double count = 0.0;
  double sum = 0.0;
  double squares = 0.0;
  Occurrence mode = {0.0, 0.0};
  for (const Occurrence& occurrence : occurrences) {
    count += occurrence.count;
    sum += occurrence.count * occurrence.code;
    squares += occurrence.count * occurrence.code * occurrence.code;
    if (occurrence.count > mode.count) mode = occurrence;
  }
  const double mean = sum / count;
  const double deviation = std::sqrt(std::max(0.0, squares / count - mean * mean));
  Levels best = {};
  double least_error = std::numeric_limits<double>::infinity();
  for (const double reach : kReaches) {
    const double step = std::clamp(ToQuarters(deviation * reach / 8.0), 1.0, 16.0);
    const double level = std::floor((mode.code - mean) / step + 8.0);
    for (const double shift : {-1.0, 0.0, 1.0}) {
      const double mode_level = std::clamp(level + shift, 0.0, 15.0);
      const double centres[] = {mean, mode.code - step * (mode_level - kMiddleNibble)};
      for (const double centre : centres) {
        const Levels levels = {ToQuarters(centre), step};
        if (levels.centre < 0.0 || levels.centre > 255.0) continue;  // make_nibbles() is exact only within
        const double error = SquaredError(occurrences, levels);
        if (!(error < least_error)) continue;
        least_error = error;
        best = levels;
      }
    }
  }
  return best;
}

}  // namespace

float RoundedUp(double value) noexcept {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const bool fits = value < static_cast<double>(std::numeric_limits<float>::max());
  return fits ? std::nextafter(static_cast<float>(value), kInfinity) : kInfinity;
}

void TrainNibbles(const ScalarQuantizerTrainer& trainer, const ScalarQuantizer& base, float* centre,
                  float* step) {
  const base::Span<const float> samples = trainer.Samples();
  const std::size_t n = base.dimensions;
  std::vector<std::uint8_t> codes(samples.size());
  for (std::size_t start = 0; start < samples.size(); start += n) {
    EncodeVector(base, samples.data() + start, codes.data() + start);
  }
  std::vector<Occurrence> occurrences;
  for (std::size_t d = 0; d < n; ++d) {
    std::array<std::uint32_t, 256> counts = {};
    for (std::size_t i = d; i < codes.size(); i += n) ++counts[codes[i]];
    occurrences.clear();
    for (std::size_t code = 0; code < counts.size(); ++code) {
      if (counts[code] != 0)
        occurrences.push_back({static_cast<double>(code), static_cast<double>(counts[code])});
    }
    const Levels levels = occurrences.empty() ? Levels{127.5, 16.0} : BestLevels(occurrences);
    centre[d] = static_cast<float>(levels.centre);
    step[d] = static_cast<float>(levels.step);
  }
}

WalkTrial TryWalkCode(const ScalarQuantizerTrainer& trainer, const WalkCodec& codec) {
  Trial trial(trainer, codec);
  trial.Run();
  return trial.Result();
}

namespace {

/// True if few vectors of the sample have the 8-bit code of another one: nodes of several rows gain nothing by codes made of
/// vectors.
bool HaveCodesOfTheirOwn(const ScalarQuantizerTrainer& trainer, const ScalarQuantizer& base) {
  const base::Span<const float> samples = trainer.Samples();
  std::vector<std::string> codes;
  std::string code(base.dimensions, '\0');
  for (std::size_t start = 0; start < samples.size(); start += base.dimensions) {
    EncodeVector(base, samples.data() + start, reinterpret_cast<std::uint8_t*>(code.data()));
    codes.push_back(code);
  }
  const std::size_t count = codes.size();
  std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
  return count - codes.size() <= count / kMostShared;
}

}  // namespace

WalkDecision ChooseWalkCode(const ScalarQuantizerTrainer& trainer, const ScalarQuantizer& base, WalkWish wish,
                            float* centre, float* step) {
  if (wish == WalkWish::kFp16 || wish == WalkWish::kFloat32) {
    const WalkCode code = wish == WalkWish::kFp16 ? WalkCode::kFp16 : WalkCode::kFloat32;
    return {code, WalkReason::kAsked, TryWalkCode(trainer, {code, base})};
  }
  WalkReason reason = WalkReason::kAsked;
  if (base.metric == Metric::kL1) {
    reason = wish == WalkWish::kSq8 ? WalkReason::kAsked : WalkReason::kMetric;
  } else if (wish == WalkWish::kSq4 ||
             (wish == WalkWish::kAuto && base.dimensions >= kLeastDimensionsForSq4)) {
    TrainNibbles(trainer, base, centre, step);
    const WalkTrial trial = TryWalkCode(trainer, {WalkCode::kSq4, base, centre, step});
    if (wish == WalkWish::kSq4) return {WalkCode::kSq4, WalkReason::kAsked, trial};
    if (trial.depth != 0 && trial.depth <= kDeepest) return {WalkCode::kSq4, WalkReason::kSampleNear, trial};
    reason = trial.depth == 0 ? WalkReason::kSampleSmall : WalkReason::kSampleFar;
  } else if (wish == WalkWish::kAuto) {
    reason = WalkReason::kDimensions;
  }
  const WalkTrial sq8 = TryWalkCode(trainer, {WalkCode::kSq8, base});
  if (wish == WalkWish::kAuto && sq8.depth > kDeepestSq8 && HaveCodesOfTheirOwn(trainer, base)) {
    const WalkTrial fp16 = TryWalkCode(trainer, {WalkCode::kFp16, base});
    if (fp16.depth <= kDeepestSq8 / 2) return {WalkCode::kFp16, WalkReason::kSampleCoarse, fp16};
  }
  return {WalkCode::kSq8, reason, sq8};
}

}  // namespace tandem::vec
