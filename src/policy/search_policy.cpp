// What a search costs, by graph and exactly.

#include "policy/search_policy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tandem::policy {
namespace {

// Nanoseconds, warm.
constexpr double kNsPerByte = 0.05;        // streaming over vectors: 20 GB/s
constexpr double kNsPerScannedRow = 10.0;  // its head, the kernel's call, the selection
constexpr double kNsPerPagedCode = 350.0;  // a pin of a remembered buffer, then the code
constexpr double kNsPerCode = 40.0;        // in memory, asked for ahead
constexpr double kNsPerTailCode = 5.0;     // one after the other
constexpr double kNsPerTailByte = 0.02;
constexpr double kNsPerFound = 50.0;    // the row of a node
constexpr double kNsPerReRank = 500.0;  // pins of a row's vector and of its head, remembered buffers
// Rows whose true distance is computed for the first ten: the others wait until they are asked for.
constexpr double kReRanked = 20.0;

// Following a node's 2 m links finds about half of them new: 15 to 25 codes per pool entry at m = 16, fewer in
// clustered data.
constexpr double kNewShareOfLinks = 0.5;

double BytesPerRow(const SearchSituation& situation) noexcept {
  return static_cast<double>(situation.row_bytes);
}

double NsPerScannedRow(const SearchSituation& situation) noexcept {
  return kNsPerScannedRow + BytesPerRow(situation) * kNsPerByte;
}

double ScanNs(const SearchSituation& situation, std::uint64_t rows) noexcept {
  return static_cast<double>(rows) * NsPerScannedRow(situation);
}

/// Levels above the lowest: each has 1 / m of the rows of the one below. The way down compares about m codes on each.
double UpperLevels(double rows, double m) noexcept {
  double levels = 0.0;
  for (double left = rows; left > m && m > 1.0; left /= m) levels += 1.0;
  return levels;
}

double ReRankNs(const SearchSituation& situation) noexcept {
  return kNsPerReRank + BytesPerRow(situation) * kNsPerByte;
}

/// Of those found.
double ReRanked(const SearchSituation& situation, double found) noexcept {
  if (situation.is_exact) return 0.0;
  return situation.re_ranks_all ? found : std::min(found, kReRanked);
}

/// One segment of `rows` rows: the walk on codes, then the re-rank of what it found.
double SegmentNs(const SearchSituation& situation, double rows) noexcept {
  const double m = situation.m;
  const double found = std::min<double>(situation.ef_search, rows);
  const double codes = std::min(rows, found * 2.0 * m * kNewShareOfLinks + m * UpperLevels(rows, m)) + found;
  const double code_bytes = situation.code_bytes;
  const double ns_per_code = situation.in_memory ? kNsPerCode : kNsPerPagedCode;
  return codes * (ns_per_code + code_bytes * kNsPerByte) + found * kNsPerFound +
         ReRanked(situation, found) * ReRankNs(situation);
}

/// Rows that no segment holds: by code where there is memory for that, if there is a segment whose codes they could have.
double TailNs(const SearchSituation& situation, std::uint64_t rows) noexcept {
  if (!situation.in_memory || situation.segments == 0) return ScanNs(situation, rows);
  const double code_bytes = situation.code_bytes;
  return static_cast<double>(rows) * (kNsPerTailCode + code_bytes * kNsPerTailByte);
}

double InUnits(double ns) noexcept {
  constexpr double kNsPerUnit = kNsPerScannedRow + 128.0 * sizeof(float) * kNsPerByte;
  return ns / kNsPerUnit;
}

}  // namespace

std::uint32_t WidenedEf(std::uint32_t ef_search, std::uint64_t nodes, std::uint64_t rows,
                        std::uint64_t dead) noexcept {
  // Nodes of rows with equal codes are fewer than their rows: count the nodes' rows, way-marks as one each.
  const auto all = static_cast<double>(std::max(nodes, rows));
  const double live = std::max(static_cast<double>(rows - std::min(rows, dead)), all / 2.0);
  if (live <= 0.0) return ef_search;
  return static_cast<std::uint32_t>(std::ceil(static_cast<double>(ef_search) * all / live));
}

std::uint32_t PoolFor(std::uint32_t ef_search, const Wanted& wanted) noexcept {
  const auto ef = static_cast<double>(ef_search);
  const double same = ef * std::min(wanted.found_per_row, kMostWidened);
  const double enough = wanted.rows > 0 ? kPoolPerWanted * wanted.rows : same;
  const double spare = wanted.found_per_row > 1.0 ? kSpare : 1.0;
  const double room = spare * std::min<double>(wanted.rows, kMostWanted);
  return static_cast<std::uint32_t>(std::max({ef, std::min(same, enough), room}));
}

std::uint32_t PoolOfSegment(std::uint32_t ef_search, double share) noexcept {
  const double by_share = std::ceil(static_cast<double>(ef_search) * std::sqrt(std::clamp(share, 0.0, 1.0)));
  const std::uint32_t least = std::max(kLeastPool, ef_search / 2);
  return std::min(ef_search, std::max(least, static_cast<std::uint32_t>(by_share)));
}

bool LiesFartherOff(const Wanted& wanted, std::uint64_t returned, std::uint64_t accepted) noexcept {
  // Chance seldom leaves half of what is expected, and it has to be worth a difference.
  constexpr double kLeastReturned = 32.0;
  const auto rows = static_cast<double>(returned);
  return wanted.found_per_row > 1.0 && rows >= kLeastReturned &&
         2.0 * wanted.found_per_row * static_cast<double>(accepted) < rows;
}

bool LiesElsewhere(double found_per_row, std::uint64_t returned, std::uint64_t accepted) noexcept {
  // Of six that are expected, chance leaves one or none once in sixty times.
  constexpr double kLeastExpected = 6.0;
  const double expected = static_cast<double>(returned) / found_per_row;
  return expected >= kLeastExpected && 3.0 * static_cast<double>(accepted) < expected;
}

double BudgetUnasked(double asking, double without, double known) noexcept {
  const double lost = without - known;
  return lost > 0.0 ? asking * (without / lost) : std::numeric_limits<double>::infinity();
}

double CostOfExactScan(const SearchSituation& situation) noexcept {
  return InUnits(ScanNs(situation, situation.rows));
}

double CostOfGraphSearch(const SearchSituation& situation) noexcept {
  const std::uint64_t tail_rows = std::min(situation.tail_rows, situation.rows);
  double ns = TailNs(situation, tail_rows);
  if (situation.segments != 0) {
    const double segments = situation.segments;
    ns += segments * SegmentNs(situation, static_cast<double>(situation.rows - tail_rows) / segments);
  }
  return InUnits(ns);
}

double CostOfLaterBatches(const SearchSituation& situation) noexcept {
  // A thousand rows of 1,000,000 of 128 dimensions took 26 us each, five shares of a batch: later batches go farther for each node,
  // and in strict order much of what they find comes too late.
  constexpr double kLaterBatches = 5.0;
  if (situation.segments == 0) return 0.0;  // an exact scan has computed all distances
  const std::uint64_t sealed = situation.rows - std::min(situation.tail_rows, situation.rows);
  const double batch = SegmentNs(situation, static_cast<double>(sealed) / situation.segments);
  return InUnits(kLaterBatches * batch / std::max(1U, situation.ef_search));
}

double CostOfNextRow(const SearchSituation& situation) noexcept {
  if (situation.segments == 0) return 0.0;
  return CostOfLaterBatches(situation) + (situation.is_exact ? 0.0 : InUnits(ReRankNs(situation)));
}

bool PrefersExactScan(const SearchSituation& situation) noexcept {
  return situation.segments == 0 || CostOfExactScan(situation) <= CostOfGraphSearch(situation);
}

}  // namespace tandem::policy
