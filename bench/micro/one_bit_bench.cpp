// Codes of one bit beside the codes of 8 and 4 bits that they are made of: rows one after the other, as a tail is compared; what a query is
// prepared in, and what a row's bits are made in.
//
//   cmake --preset release && cmake --build --preset release && build/release/one_bit_bench
//
// Reported per row. `few` rows stay in a cache of the second level, `many` only in one of the third, if there is one so large.

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "vec/code_kernels.hpp"
#include "vec/one_bit.hpp"

namespace {

using namespace tandem::vec;

struct Kind {
  WalkCode code;
  std::size_t dimensions;
};
constexpr Kind kKinds[] = {
    {WalkCode::kSq8, 64},  {WalkCode::kSq8, 96},   {WalkCode::kSq8, 128},  {WalkCode::kSq8, 256},
    {WalkCode::kSq8, 384}, {WalkCode::kSq4, 128},  {WalkCode::kSq4, 256},  {WalkCode::kSq4, 384},
    {WalkCode::kSq4, 768}, {WalkCode::kSq4, 1536}, {WalkCode::kSq4, 3072},
};
constexpr std::size_t kTogether = OneBitQuery::kMostRows;
constexpr std::size_t kFewRows = 4'096;
constexpr std::size_t kManyRows = 65'536;

struct alignas(64) Line {
  std::uint8_t bytes[64];
};

/// Lines of bytes whose values do not influence the speed, except that a norm term must be no denormal.
std::vector<Line> MakeLines(std::size_t bytes, std::uint32_t end) {
  std::vector<Line> lines(bytes / sizeof(Line) + 1);
  std::uint32_t number = 0;
  for (Line& line : lines)
    for (std::uint8_t& byte : line.bytes) byte = static_cast<std::uint8_t>(number++ * 37 % end);
  return lines;
}

/// A codec whose values do not influence the speed.
struct Codec {
  explicit Codec(const Kind& kind)
      : offset(kind.dimensions),
        centre(kind.dimensions, 127.5F),
        step(kind.dimensions, 8.0F),
        middle(kind.dimensions, kind.code == WalkCode::kSq8 ? 127.0F : 3.0F) {
    const std::size_t n = kind.dimensions;
    codec = {kind.code,
             {Metric::kL2, static_cast<std::uint32_t>(n), 1.0F, offset.data()},
             centre.data(),
             step.data(),
             0.0F};
  }
  std::vector<float> offset;
  std::vector<float> centre;
  std::vector<float> step;
  std::vector<float> middle;
  WalkCodec codec;
};

void SumEntries(benchmark::State& state, const LookupKernels& kernels, std::size_t n, std::size_t rows) {
  const std::size_t bytes = OneBitBytes(n);
  const std::vector<Line> tables = MakeLines(32 * bytes, kLargestEntry);
  const std::vector<Line> bits = MakeLines(rows * bytes, 251);
  std::size_t at = 0;
  while (state.KeepRunningBatch(kTogether)) {
    std::uint16_t sums[kTogether];
    kernels.sum_entries(tables.data()->bytes, bytes, bits.data()->bytes + at * bytes, kTogether, sums);
    at = (at + kTogether) % rows;
    benchmark::DoNotOptimize(sums);
    benchmark::ClobberMemory();
  }
}

void QueryNibbles(benchmark::State& state, const CodeKernels& kernels, std::size_t n, std::size_t rows) {
  const std::size_t stride =
      (NibbleBytes(n) + sizeof(float) + sizeof(Line) - 1) / sizeof(Line) * sizeof(Line);
  const std::vector<Line> memory = MakeLines(rows * stride, 251);
  const std::vector<std::int8_t> weights(2 * NibbleBytes(n), 3);
  const NibbleQuery query = {weights.data(), weights.data() + NibbleBytes(n), NibbleBytes(n), 1e4, 1.0, 0.25};
  std::size_t at = 0;
  while (state.KeepRunningBatch(kTogether)) {
    const std::uint8_t* codes[kTogether];
    float keys[kTogether];
    for (const std::uint8_t*& code : codes) code = memory.data()->bytes + at++ * stride;
    kernels.query_nibbles(query, codes, kTogether, keys);
    at %= rows;
    benchmark::DoNotOptimize(keys);
    benchmark::ClobberMemory();
  }
}

void QueryBytes(benchmark::State& state, const CodeKernels& kernels, std::size_t n, std::size_t rows) {
  const std::vector<Line> memory = MakeLines(rows * n, 251);
  const std::vector<std::int16_t> query(n, 3);
  std::size_t at = 0;
  while (state.KeepRunningBatch(kTogether)) {
    const std::uint8_t* codes[kTogether];
    float keys[kTogether];
    for (const std::uint8_t*& code : codes) code = memory.data()->bytes + at++ * n;
    kernels.query_l2_squared(query.data(), codes, kTogether, n, keys);
    at %= rows;
    benchmark::DoNotOptimize(keys);
    benchmark::ClobberMemory();
  }
}

/// A query prepared for codes, and the memory to prepare it for bits.
struct Query {
  explicit Query(const Codec& codec)
      : walk_scratch(WalkQuery::ScratchBytes(codec.step.size()) / sizeof(Line) + 1),
        scratch(OneBitQuery::ScratchBytes(codec.step.size()) / sizeof(Line) + 1) {
    std::vector<float> vector(codec.step.size());
    for (std::size_t i = 0; i < vector.size(); ++i) vector[i] = static_cast<float>(i * 37 % 251);
    walk = WalkQuery(codec.codec, vector.data(), walk_scratch.data());
  }
  std::vector<Line> walk_scratch;
  std::vector<Line> scratch;
  WalkQuery walk;
};

void Prepare(benchmark::State& state, const Kind& kind) {
  const Codec codec(kind);
  Query query(codec);
  while (state.KeepRunning()) {
    OneBitQuery bits(codec.codec, codec.middle.data(), query.walk, query.scratch.data());
    benchmark::DoNotOptimize(bits);
    benchmark::ClobberMemory();
  }
}

/// With everything that a bound needs.
void Within(benchmark::State& state, const Kind& kind, std::size_t rows) {
  const std::size_t n = kind.dimensions;
  const Codec codec(kind);
  Query query(codec);
  const OneBitQuery bits(codec.codec, codec.middle.data(), query.walk, query.scratch.data());
  if (!bits.is_usable()) return state.SkipWithError("a query without a direction");
  const std::size_t bytes = OneBitBytes(n);
  const std::vector<Line> memory = MakeLines(rows * bytes, 251);
  const std::vector<float> terms(rows, 1.0F);
  const std::vector<float> scales(rows, 2.0F);
  const std::vector<float> spreads(rows, 1.5F);
  std::size_t at = 0;
  while (state.KeepRunningBatch(kTogether)) {
    const OneBitRows some = {memory.data()->bytes + at * bytes, terms.data() + at, scales.data() + at,
                             spreads.data() + at};
    benchmark::DoNotOptimize(bits.Within(some, kTogether, 0.0F));
    at = (at + kTogether) % rows;
  }
}

void Make(benchmark::State& state, const Kind& kind) {
  const std::size_t n = kind.dimensions;
  const Codec codec(kind);
  const std::vector<Line> code = MakeLines(WalkCodeBytes(kind.code, n), 251);
  std::vector<Line> scratch(OneBitScratch(n) / sizeof(Line) + 1);
  std::vector<unsigned char> bits(kLookupRows * OneBitBytes(n));
  while (state.KeepRunning()) {
    benchmark::DoNotOptimize(MakeOneBit(codec.codec, codec.middle.data(), code.data()->bytes,
                                        reinterpret_cast<float*>(scratch.data()), bits.data()));
    benchmark::ClobberMemory();
  }
}

void RegisterAll() {
  for (const Kind& kind : kKinds) {
    const std::size_t n = kind.dimensions;
    const std::string dimensions = std::string("/") + NameOf(kind.code) + "/" + std::to_string(n);
    for (const std::size_t rows : {kFewRows, kManyRows}) {
      const std::string suffix = dimensions + (rows == kFewRows ? "/few" : "/many");
      for (const LookupKernels* kernels : AvailableLookupKernels())
        benchmark::RegisterBenchmark((std::string("sum_entries/") + kernels->name + suffix).c_str(),
                                     SumEntries, *kernels, n, rows);
      for (const CodeKernels* kernels : AvailableCodeKernels())
        benchmark::RegisterBenchmark((std::string("query_codes/") + kernels->name + suffix).c_str(),
                                     kind.code == WalkCode::kSq8 ? QueryBytes : QueryNibbles, *kernels, n,
                                     rows);
      benchmark::RegisterBenchmark(("within" + suffix).c_str(), Within, kind, rows);
    }
    benchmark::RegisterBenchmark(("prepare" + dimensions).c_str(), Prepare, kind);
    benchmark::RegisterBenchmark(("make" + dimensions).c_str(), Make, kind);
  }
}

}  // namespace

int main(int argc, char** argv) {
  RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
