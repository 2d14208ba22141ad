// Would a code of one bit a dimension (RaBitQ: Gao and Long 2024) be better to walk on than 4 bits? How many of the nearest by code
// one has to keep, and re-rank, so that they hold the ten nearest; and what a key costs where memory is in no order.
//
//   tandem-bench-one-bit --base F --query F [--limit 20000] [--queries 200]
//
// L2. The one-bit estimate compares with the query in full precision, which is better than any code of it; its time is that of a
// query of 4 bits, as in the paper. One JSON line per code. A walk's pool must hold that many, so its time grows with them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/json_line.hpp"
#include "common/options.hpp"
#include "common/vector_file.hpp"
#include "inprocess/curve.hpp"
#include "vec/walk_training.hpp"

namespace tandem::bench {
namespace {

constexpr std::size_t kNearest = 10;
constexpr double kRecalls[] = {0.95, 0.99};

using Rows = std::vector<std::vector<float>>;

Rows Load(const VectorFile<float>& file) {
  Rows rows;
  for (std::size_t i = 0; i < file.rows(); ++i) rows.emplace_back(file.row(i).begin(), file.row(i).end());
  return rows;
}

/// An orthogonal matrix: normal numbers, made orthogonal row by row (Gram and Schmidt).
Rows RandomRotation(std::size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const vec::DistanceKernels& kernels = vec::Kernels();
  Rows rotation(n, std::vector<float>(n));
  for (std::size_t i = 0; i < n; ++i) {
    for (float& value : rotation[i]) value = normal(random);
    for (int twice = 0; twice < 2; ++twice) {
      for (std::size_t j = 0; j < i; ++j) {
        const float share = kernels.inner_product(rotation[i].data(), rotation[j].data(), n);
        for (std::size_t d = 0; d < n; ++d) rotation[i][d] -= share * rotation[j][d];
      }
      const float norm = std::sqrt(kernels.inner_product(rotation[i].data(), rotation[i].data(), n));
      for (float& value : rotation[i]) value /= norm;
    }
  }
  return rotation;
}

/// The set in one bit a dimension, around its mean.
class OneBit {
 public:
  explicit OneBit(const Rows& rows) : n_(rows[0].size()), rotation_(RandomRotation(n_)), mean_(n_) {
    for (const auto& row : rows) {
      for (std::size_t d = 0; d < n_; ++d) mean_[d] += row[d] / static_cast<float>(rows.size());
    }
    words_ = (n_ + 63) / 64;
    bits_.resize(rows.size() * words_);
    for (std::size_t i = 0; i < rows.size(); ++i) Encode(rows[i], i);
  }

  [[nodiscard]] std::size_t bytes() const { return words_ * 8 + 2 * sizeof(float); }

  /// Estimates of squared distances.
  void Keys(const std::vector<float>& query, std::vector<float>* keys) const {
    const std::vector<float> q = Rotated(query);
    const float norm_squared = vec::Kernels().inner_product(q.data(), q.data(), n_);
    for (std::size_t i = 0; i < norms_.size(); ++i) {
      float dot = 0.0F;
      for (std::size_t d = 0; d < n_; ++d) dot += Bit(i, d) ? q[d] : -q[d];
      (*keys)[i] = norm_squared + norms_[i] * norms_[i] - 2.0F * factors_[i] * dot;
    }
  }

  /// How many rows' lower bounds (theorem 3.2 there, with 1.9 deviations as in section 5) are below a squared distance: exact distances that are
  /// needed to be sure.
  [[nodiscard]] std::size_t CountBelow(const std::vector<float>& query, const std::vector<float>& keys,
                                       float squared_distance) const {
    const std::vector<float> q = Rotated(query);
    const float norm = std::sqrt(vec::Kernels().inner_product(q.data(), q.data(), n_));
    std::size_t count = 0;
    for (std::size_t i = 0; i < norms_.size(); ++i) {
      const float own = norms_[i] / (factors_[i] * std::sqrt(static_cast<float>(n_)));  // (o, b)
      const float error = 1.9F * std::sqrt((1.0F - own * own) / (own * own) / static_cast<float>(n_ - 1));
      count += keys[i] - 2.0F * norms_[i] * norm * error < squared_distance ? 1 : 0;
    }
    return count;
  }

  /// What the bits of a 4-bit query cost: one population count for each of its bits and 64 dimensions.
  [[gnu::target("popcnt")]] [[nodiscard]] std::uint64_t PlaneKey(std::size_t row,
                                                                 const std::uint64_t* planes) const {
    const std::uint64_t* bits = bits_.data() + row * words_;
    std::uint64_t sum = 0;
    for (std::size_t plane = 0; plane < 4; ++plane) {
      std::uint64_t count = 0;
      for (std::size_t w = 0; w < words_; ++w) {
        count += static_cast<std::uint64_t>(__builtin_popcountll(bits[w] & planes[plane * words_ + w]));
      }
      sum += count << plane;
    }
    return sum;
  }
  [[nodiscard]] std::size_t words() const { return words_; }

 private:
  [[nodiscard]] bool Bit(std::size_t row, std::size_t d) const {
    return (bits_[row * words_ + d / 64] >> (d % 64) & 1) != 0;
  }

  [[nodiscard]] std::vector<float> Rotated(const std::vector<float>& vector) const {
    std::vector<float> from_mean(n_);
    for (std::size_t d = 0; d < n_; ++d) from_mean[d] = vector[d] - mean_[d];
    std::vector<float> rotated(n_);
    for (std::size_t d = 0; d < n_; ++d) {
      rotated[d] = vec::Kernels().inner_product(rotation_[d].data(), from_mean.data(), n_);
    }
    return rotated;
  }

  /// With o the direction and b its signs over the root of n, the estimate of (o, q) is (b, q) / (b, o).
  void Encode(const std::vector<float>& vector, std::size_t row) {
    const std::vector<float> o = Rotated(vector);
    float magnitudes = 0.0F;
    for (std::size_t d = 0; d < n_; ++d) {
      if (o[d] > 0.0F) bits_[row * words_ + d / 64] |= std::uint64_t{1} << (d % 64);
      magnitudes += std::fabs(o[d]);
    }
    const float norm_squared = vec::Kernels().inner_product(o.data(), o.data(), n_);
    norms_.push_back(std::sqrt(norm_squared));
    factors_.push_back(magnitudes > 0.0F ? norm_squared / magnitudes : 0.0F);
  }

  std::size_t n_;
  std::size_t words_;
  Rows rotation_;
  std::vector<float> mean_;
  std::vector<std::uint64_t> bits_;
  std::vector<float> norms_;
  std::vector<float> factors_;
};

/// Ranks, by code, of every query's ten nearest.
std::vector<std::size_t> Ranks(
    const Rows& rows, const Rows& queries,
    const std::function<void(const std::vector<float>&, std::vector<float>*)>& keys_of) {
  std::vector<std::size_t> ranks;
  std::vector<float> keys(rows.size());
  std::vector<std::pair<float, std::size_t>> exact(rows.size());
  for (const auto& query : queries) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      exact[i] = {vec::Kernels().l2_squared(query.data(), rows[i].data(), query.size()), i};
    }
    std::partial_sort(exact.begin(), exact.begin() + kNearest, exact.end());
    keys_of(query, &keys);
    for (std::size_t i = 0; i < kNearest; ++i) {
      const float own = keys[exact[i].second];
      ranks.push_back(1 + static_cast<std::size_t>(std::count_if(keys.begin(), keys.end(),
                                                                 [own](float key) { return key < own; })));
    }
  }
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

/// Nanoseconds of processor time a key, rows in no order.
double TimeOf(std::size_t rows, const std::function<float(std::size_t)>& key_of) {
  std::vector<std::size_t> order(rows);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937(2));
  double best = 1e30;
  volatile float sink = 0.0F;
  for (int round = 0; round < 9; ++round) {
    const Stopwatch stopwatch;
    for (const std::size_t row : order) sink = sink + key_of(row);
    best = std::min(best, stopwatch.cpu_seconds() * 1e9 / static_cast<double>(rows));
  }
  return best;
}

void Print(const char* code, std::size_t bytes, const std::vector<std::size_t>& ranks, double nanoseconds) {
  JsonLine line;
  line.Text("code", code).Integer("bytes", static_cast<std::int64_t>(bytes));
  for (const double recall : kRecalls) {
    const auto place = static_cast<std::size_t>(recall * static_cast<double>(ranks.size() - 1));
    line.Integer(recall < 0.97 ? "kept_for_0.95" : "kept_for_0.99", static_cast<std::int64_t>(ranks[place]));
  }
  std::puts(line.Number("ns_per_key", nanoseconds, 4).Finish().c_str());
}

/// A segment's codec for the set, and its codes.
class Walked {
 public:
  Walked(const Rows& rows, vec::WalkWish wish) : n_(rows[0].size()), offset_(n_), centre_(n_), step_(n_) {
    vec::ScalarQuantizerTrainer trainer(vec::Metric::kL2, static_cast<std::uint32_t>(n_));
    const std::size_t every = rows.size() / trainer.MaxSamples() + 1;
    for (std::size_t i = 0; i < rows.size(); i += every) trainer.Add(rows[i].data());
    const float unit = trainer.Train(offset_.data());
    codec_.base = {vec::Metric::kL2, static_cast<std::uint32_t>(n_), unit, offset_.data()};
    const vec::WalkDecision decision =
        vec::ChooseWalkCode(trainer, codec_.base, wish, centre_.data(), step_.data());
    codec_.code = decision.code;
    codec_.centre = centre_.data();
    codec_.step = step_.data();
    std::vector<std::uint8_t> code8(n_);
    codes_.resize(rows.size() * bytes());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      vec::EncodeVector(codec_.base, rows[i].data(), code8.data());
      vec::MakeWalkCode(codec_, code8.data(), codes_.data() + i * bytes());
    }
    scratch_.resize(vec::WalkQuery::ScratchBytes(n_) / sizeof(Line) + 1);
  }

  [[nodiscard]] std::size_t bytes() const { return vec::WalkCodeBytes(codec_.code, n_); }
  [[nodiscard]] vec::WalkQuery Query(const std::vector<float>& query) {
    return vec::WalkQuery(codec_, query.data(), scratch_.data());
  }
  [[nodiscard]] const std::uint8_t* Code(std::size_t row) const { return codes_.data() + row * bytes(); }

 private:
  struct alignas(64) Line {
    char bytes[64];
  };
  std::size_t n_;
  std::vector<float> offset_;
  std::vector<float> centre_;
  std::vector<float> step_;
  vec::WalkCodec codec_;
  std::vector<std::uint8_t> codes_;
  std::vector<Line> scratch_;
};

void Measure(const char* name, vec::WalkWish wish, const Rows& rows, const Rows& queries) {
  Walked walked(rows, wish);
  const auto ranks = Ranks(rows, queries, [&](const std::vector<float>& query, std::vector<float>* keys) {
    const vec::WalkQuery prepared = walked.Query(query);
    for (std::size_t i = 0; i < rows.size(); ++i) (*keys)[i] = prepared.Key(walked.Code(i));
  });
  const vec::WalkQuery prepared = walked.Query(queries[0]);
  Print(name, walked.bytes(), ranks,
        TimeOf(rows.size(), [&](std::size_t row) { return prepared.Key(walked.Code(row)); }));
}

void MeasureOneBit(const Rows& rows, const Rows& queries) {
  const OneBit codes(rows);
  const auto ranks = Ranks(rows, queries, [&](const std::vector<float>& query, std::vector<float>* keys) {
    codes.Keys(query, keys);
  });
  std::vector<std::size_t> counts;
  std::vector<float> keys(rows.size());
  std::vector<float> distances(rows.size());
  for (const auto& query : queries) {
    codes.Keys(query, &keys);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      distances[i] = vec::Kernels().l2_squared(query.data(), rows[i].data(), query.size());
    }
    std::nth_element(distances.begin(), distances.begin() + (kNearest - 1), distances.end());
    counts.push_back(codes.CountBelow(query, keys, distances[kNearest - 1]));
  }
  std::sort(counts.begin(), counts.end());
  std::puts(JsonLine()
                .Text("code", "1 bit")
                .Integer("bounded_median", static_cast<std::int64_t>(counts[counts.size() / 2]))
                .Integer("bounded_0.9", static_cast<std::int64_t>(counts[counts.size() * 9 / 10]))
                .Finish()
                .c_str());
  std::vector<std::uint64_t> planes(4 * codes.words());
  std::mt19937_64 random(3);
  for (std::uint64_t& plane : planes) plane = random();
  Print("1 bit", codes.bytes(), ranks, TimeOf(rows.size(), [&](std::size_t row) {
          return static_cast<float>(codes.PlaneKey(row, planes.data()));
        }));
}

int Run(int argc, char** argv) {
  const Options options(argc, argv, 1, {"base", "query", "limit", "queries"});
  const VectorFile<float> base(options.Text("base"), 0, options.Count("limit", 20'000));
  const VectorFile<float> query(options.Text("query"), 0, options.Count("queries", 200));
  const Rows rows = Load(base);
  const Rows queries = Load(query);
  MeasureOneBit(rows, queries);
  Measure("sq4", vec::WalkWish::kSq4, rows, queries);
  Measure("sq8", vec::WalkWish::kSq8, rows, queries);
  Print("float32", rows[0].size() * sizeof(float), std::vector<std::size_t>(2, kNearest),
        TimeOf(rows.size(), [&](std::size_t row) {
          return vec::Kernels().l2_squared(queries[0].data(), rows[row].data(), rows[row].size());
        }));
  return 0;
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) {
  try {
    return tandem::bench::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tandem-bench-one-bit: %s\n", error.what());
    return 1;
  }
}
