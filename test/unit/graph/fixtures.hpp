#pragma once
// Data, segments in memory and exact answers, for the tests of graphs.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph_builder.hpp"
#include "graph/graph_search.hpp"
#include "graph/segment_check.hpp"
#include "graph/segment_layout.hpp"
#include "vec/metric.hpp"
#include "vec/scalar_quantizer.hpp"

namespace tandem::graph::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif

/// Rows of the larger tests: instrumented code is ten to twenty times slower.
constexpr std::uint32_t kRows = kSanitized ? 800 : 6'000;

/// A mixture of normal distributions in a few latent dimensions, mapped to many, with noise. Rows come in no order.
class Dataset {
 public:
  Dataset(std::uint32_t dimensions, std::size_t rows, unsigned seed) : dimensions_(dimensions) {
    constexpr std::size_t kLatent = 24;
    constexpr std::size_t kClusters = 20;
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    std::vector<float> centres(kClusters * kLatent);
    for (float& x : centres) x = normal(generator);
    std::vector<float> map(kLatent * dimensions);
    for (float& x : map) x = normal(generator);
    values_.resize(rows * dimensions);
    for (std::size_t row = 0; row < rows; ++row) {
      float* vector = values_.data() + row * dimensions;
      const std::size_t cluster = generator() % kClusters;
      for (std::size_t d = 0; d < dimensions; ++d) vector[d] = 0.5F * normal(generator);
      for (std::size_t l = 0; l < kLatent; ++l) {
        const float latent = centres[cluster * kLatent + l] + 0.8F * normal(generator);
        for (std::size_t d = 0; d < dimensions; ++d) vector[d] += latent * map[l * dimensions + d];
      }
    }
  }

  [[nodiscard]] std::uint32_t dimensions() const { return dimensions_; }
  [[nodiscard]] std::size_t rows() const { return values_.size() / dimensions_; }
  [[nodiscard]] const float* Row(std::size_t row) const { return values_.data() + row * dimensions_; }
  [[nodiscard]] float* Row(std::size_t row) { return values_.data() + row * dimensions_; }

 private:
  std::uint32_t dimensions_;
  std::vector<float> values_;
};

/// The signs of its elements, as zeros and ones.
inline Dataset BitsOf(Dataset data) {
  for (std::size_t row = 0; row < data.rows(); ++row) {
    float* vector = data.Row(row);
    for (std::size_t d = 0; d < data.dimensions(); ++d) vector[d] = vector[d] > 0.0F ? 1.0F : 0.0F;
  }
  return data;
}

inline base::HeapTid TidOf(std::uint64_t row) {
  return {0, static_cast<std::uint16_t>(row / 100), static_cast<std::uint16_t>(row % 100 + 1)};
}

/// A frozen segment in memory.
class MemorySegment final : public SegmentSource {
 public:
  MemorySegment() = default;
  /// Of a finished builder.
  explicit MemorySegment(const GraphBuilder& builder) : bytes_(builder.header().bytes) {
    builder.ReadImage(0, bytes_.size(), bytes_.data());
    ReadHeader();
    MakeWalkCodes();
  }

  void Read(std::uint64_t offset, std::size_t bytes, void* to) override {
    if (offset + bytes > bytes_.size()) throw std::out_of_range("read behind the end of a segment");
    std::memcpy(to, bytes_.data() + offset, bytes);
  }

  [[nodiscard]] const SegmentHeader& header() const { return header_; }
  [[nodiscard]] std::vector<char>& bytes() { return bytes_; }
  [[nodiscard]] const std::vector<char>& bytes() const { return bytes_; }
  void ReadHeader() { std::memcpy(&header_, bytes_.data(), sizeof header_); }

  template <typename T>
  [[nodiscard]] const T* At(std::uint64_t offset) const {
    return reinterpret_cast<const T*>(bytes_.data() + offset);
  }
  template <typename T>
  [[nodiscard]] T* At(std::uint64_t offset) {
    return reinterpret_cast<T*>(bytes_.data() + offset);
  }
  [[nodiscard]] std::uint64_t RecordAt(std::uint32_t node) const {
    return header_.records_at + std::uint64_t{node} * header_.record_bytes;
  }

  [[nodiscard]] vec::ScalarQuantizer Quantizer() const {
    return {static_cast<vec::Metric>(header_.metric), header_.dimensions, header_.step,
            At<float>(header_.offsets_at)};
  }
  [[nodiscard]] vec::WalkCodec Codec() const {
    return WalkCodecOf(header_, At<float>(header_.offsets_at), At<float>(header_.walk_at));
  }
  [[nodiscard]] std::size_t WalkBytes() const { return vec::WalkCodeBytes(Codec().code, header_.dimensions); }
  [[nodiscard]] std::size_t LinkBytes() const { return 2 * sizeof(std::uint32_t) * header_.m; }
  [[nodiscard]] const std::uint8_t* WalkCode(std::uint32_t node) const {
    return walk_codes_.data() + node * WalkBytes();
  }
  /// Row ids of a node.
  [[nodiscard]] std::vector<std::uint64_t> RowsOf(std::uint32_t node) const {
    std::uint32_t first = node;
    std::uint32_t end = node + 1;
    if (header_.row_starts_at != 0) {
      first = At<std::uint32_t>(header_.row_starts_at)[node];
      end = At<std::uint32_t>(header_.row_starts_at)[node + 1];
    }
    std::vector<std::uint64_t> rows;
    for (; first < end; ++first)
      rows.push_back(header_.first_row + At<std::uint32_t>(header_.rows_at)[first]);
    return rows;
  }

 private:
  void MakeWalkCodes() {
    walk_codes_.resize(header_.nodes * WalkBytes());
    for (std::uint32_t node = 0; node < header_.nodes; ++node)
      vec::MakeWalkCode(Codec(), At<std::uint8_t>(RecordAt(node) + LinkBytes()),
                        walk_codes_.data() + node * WalkBytes());
  }

  std::vector<char> bytes_;
  SegmentHeader header_{};
  std::vector<std::uint8_t> walk_codes_;
};

/// A query for one segment, with its memory.
class TestQuery {
 public:
  TestQuery(const MemorySegment& segment, const float* query)
      : scratch_(vec::WalkQuery::ScratchBytes(segment.header().dimensions) / sizeof(Line) + 1),
        query_(segment.Codec(), query, scratch_.data()) {}
  TestQuery(TestQuery&&) = default;
  [[nodiscard]] const vec::WalkQuery& operator*() const& { return query_; }
  [[nodiscard]] float Key(const std::uint8_t* code) const { return query_.Key(code); }

 private:
  struct alignas(64) Line {
    char bytes[64];
  };
  std::vector<Line> scratch_;
  vec::WalkQuery query_;
};

/// The Reader of GraphSearch over memory. Of each array, about `resident_percent` of the elements are there at once; the others
/// are copies that the next call overwrites, as pages are.
class MemoryReader {
 public:
  explicit MemoryReader(const MemorySegment& segment, unsigned resident_percent = 100)
      : segment_(&segment), resident_percent_(resident_percent) {}

  const std::uint32_t* LinkRecord(std::uint32_t node) const {
    return IsResident(node + 3) ? segment_->At<std::uint32_t>(segment_->RecordAt(node)) : nullptr;
  }
  const std::uint8_t* CodeRecord(std::uint32_t node) const {
    return IsResident(node) ? segment_->WalkCode(node) : nullptr;
  }
  const UpperNode* UpperRecord(std::uint32_t ordinal) const {
    return IsResident(ordinal + 1) ? UpperOf(ordinal) : nullptr;
  }
  const std::uint32_t* UpperList(std::uint32_t list) const {
    return IsResident(list + 2) ? UpperLinksOf(list) : nullptr;
  }

  const std::uint32_t* Links(std::uint32_t node) {
    return Page<std::uint32_t>(RecordOf(node), segment_->header().record_bytes);
  }
  const std::uint8_t* Code(std::uint32_t node) {
    const std::uint8_t* code =
        Page<std::uint8_t>(RecordOf(node), segment_->header().record_bytes) + segment_->LinkBytes();
    walk_code_.assign(segment_->WalkBytes() / 4, 0xAAAAAAAA);
    auto* walk_code = reinterpret_cast<std::uint8_t*>(walk_code_.data());
    vec::MakeWalkCode(segment_->Codec(), code, walk_code);
    return walk_code;
  }
  UpperNode Upper(std::uint32_t ordinal) { return *Page<UpperNode>(UpperOf(ordinal), sizeof(UpperNode)); }
  const std::uint32_t* UpperLinks(std::uint32_t list) {
    return Page<std::uint32_t>(UpperLinksOf(list), segment_->header().m * sizeof(std::uint32_t));
  }

 private:
  [[nodiscard]] bool IsResident(std::uint32_t element) const {
    return (element * 2'654'435'761U >> 8) % 100 < resident_percent_;
  }
  [[nodiscard]] const char* RecordOf(std::uint32_t node) const {
    return segment_->At<char>(segment_->RecordAt(node));
  }
  [[nodiscard]] const UpperNode* UpperOf(std::uint32_t ordinal) const {
    return segment_->At<UpperNode>(segment_->header().upper_nodes_at) + ordinal;
  }
  [[nodiscard]] const std::uint32_t* UpperLinksOf(std::uint32_t list) const {
    return segment_->At<std::uint32_t>(segment_->header().upper_links_at) +
           std::size_t{list} * segment_->header().m;
  }
  template <typename T>
  const T* Page(const void* from, std::size_t bytes) {
    page_.assign((bytes + 3) / 4, 0xAAAAAAAA);
    std::memcpy(page_.data(), from, bytes);
    return reinterpret_cast<const T*>(page_.data());
  }

  const MemorySegment* segment_;
  unsigned resident_percent_;
  std::vector<std::uint32_t> page_;
  std::vector<std::uint32_t> walk_code_;
};

inline BuildParameters Parameters(vec::Metric metric, std::uint32_t dimensions, std::uint64_t rows,
                                  unsigned threads = 0) {
  BuildParameters parameters;
  parameters.graph.metric = metric;
  parameters.graph.dimensions = dimensions;
  parameters.graph.ef_construction = 64;
  parameters.end_row = rows;
  parameters.max_rows = rows;
  parameters.threads = threads;
  return parameters;
}

inline void Train(GraphBuilder* builder, const Dataset& data, std::size_t rows) {
  const std::size_t stride = rows / std::max<std::size_t>(builder->MaxSamples(), 1) + 1;
  for (std::size_t row = 0; row < rows; row += stride) builder->AddSample(data.Row(row));
  builder->FinishTraining();
}

inline void AddRows(GraphBuilder* builder, const Dataset& data, std::size_t first, std::size_t end) {
  for (std::size_t row = first; row < end; ++row) {
    builder->AddRow(static_cast<base::RowId>(row), TidOf(row), data.Row(row));
  }
}

/// The first rows of `data` as a segment.
inline MemorySegment Build(const BuildParameters& parameters, const Dataset& data) {
  GraphBuilder builder(parameters);
  Train(&builder, data, parameters.end_row);
  AddRows(&builder, data, 0, parameters.end_row);
  builder.EndRows();
  const base::Status status = builder.Finish();
  if (!status.ok()) throw std::runtime_error(status.message());
  return MemorySegment(builder);
}

/// Problems that the checker finds, "offset: text".
inline std::vector<std::pair<std::uint64_t, std::string>> ProblemsOf(MemorySegment* segment) {
  std::vector<std::pair<std::uint64_t, std::string>> problems;
  SegmentChecker checker;
  checker.Run(
      segment, segment->bytes().size(),
      [](void* state, std::uint64_t offset, const char* problem) {
        static_cast<decltype(problems)*>(state)->emplace_back(offset, problem);
      },
      &problems);
  return problems;
}

/// The k nearest of `rows` to the query, exactly.
inline std::vector<std::uint64_t> Nearest(vec::Metric metric, const Dataset& data,
                                          const std::vector<std::uint64_t>& rows, const float* query,
                                          std::size_t k) {
  const vec::QueryDistance distance(metric, query, data.dimensions());
  std::vector<std::pair<double, std::uint64_t>> keys;
  keys.reserve(rows.size());
  for (const std::uint64_t row : rows) keys.emplace_back(distance.Key(data.Row(row)), row);
  k = std::min(k, keys.size());
  std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(k), keys.end());
  std::vector<std::uint64_t> nearest;
  for (std::size_t i = 0; i < k; ++i) nearest.push_back(keys[i].second);
  return nearest;
}

/// Rows of the first `batches` batches of a search.
inline std::vector<std::uint64_t> Found(const MemorySegment& segment, const float* query, std::uint32_t ef,
                                        int batches = 1) {
  const TestQuery test_query(segment, query);
  MemoryReader reader(segment);
  GraphSearch<MemoryReader> search;
  search.Start(&segment.header(), *test_query, ef);
  std::vector<std::uint64_t> rows;
  for (int batch = 0; batch < batches; ++batch) {
    for (const FoundNode& found : search.NextBatch(&reader)) {
      for (const std::uint64_t row : segment.RowsOf(found.node)) rows.push_back(row);
    }
  }
  return rows;
}

inline double Overlap(const std::vector<std::uint64_t>& expected, const std::vector<std::uint64_t>& actual) {
  const std::set<std::uint64_t> have(actual.begin(), actual.end());
  std::size_t hits = 0;
  for (const std::uint64_t row : expected) hits += have.count(row);
  return static_cast<double>(hits) / static_cast<double>(expected.size());
}

/// Mean recall@10 over all queries, with exact re-ranking of one batch of ef nodes, among `rows`.
inline double Recall(const MemorySegment& segment, const Dataset& data,
                     const std::vector<std::uint64_t>& rows, const Dataset& queries, std::uint32_t ef) {
  const auto metric = static_cast<vec::Metric>(segment.header().metric);
  double sum = 0.0;
  for (std::size_t q = 0; q < queries.rows(); ++q) {
    const std::vector<std::uint64_t> exact = Nearest(metric, data, rows, queries.Row(q), 10);
    const std::vector<std::uint64_t> found =
        Nearest(metric, data, Found(segment, queries.Row(q), ef), queries.Row(q), 10);
    sum += Overlap(exact, found);
  }
  return sum / static_cast<double>(queries.rows());
}

inline std::vector<std::uint64_t> RowsUpTo(std::uint64_t end) {
  std::vector<std::uint64_t> rows;
  for (std::uint64_t row = 0; row < end; ++row) rows.push_back(row);
  return rows;
}

}  // namespace tandem::graph::test
