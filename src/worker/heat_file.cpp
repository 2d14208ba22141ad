// The file holds numbers of databases and files, and how much they were used: no names, no values of rows, no conditions. Those are in
// a file of their own (filter_file.hpp), which is written first.

#include "pg/compat.hpp"

#include "worker/heat_file.hpp"

#include <algorithm>

#include "pg/settings.hpp"
#include "shmem/frame_pool.hpp"
#include "shmem/heat.hpp"
#include "worker/filter_file.hpp"
#include "worker/process.hpp"
#include "worker/state_file.hpp"

extern "C" {
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
}

namespace tandem::worker {

namespace {

constexpr StateFile kFile = {"pg_stat/tandem.heat",
                             "pg_stat/tandem.heat.tmp",
                             UINT64CONST(0x54414E4448454154),
                             2,
                             false,
                             "Graphs are loaded in the order of an earlier time, or in none."};

struct Heats {
  uint32 count;
  shmem::IndexHeat heats[shmem::kMostHeats];
};

/// What is hot now, and what was before the start and is not in memory yet, or no more: that counts half from time to time, until it is
/// next to nothing.
void Collect(Heats* to) {
  constexpr float kNextToNothing = 1;
  shmem::IndexHeat past[shmem::kMostHeats];
  uint32 count = shmem::ListHeats(to->heats);
  uint32 past_count = shmem::ReadPastHeats(past);
  const auto is_here = [&](const shmem::IndexHeat& heat) {
    for (uint32 i = 0; i < count; i++)
      if (to->heats[i].file == heat.file && to->heats[i].database == heat.database &&
          to->heats[i].tablespace == heat.tablespace)
        return true;
    return false;
  };
  past_count = static_cast<uint32>(std::remove_if(past, past + past_count, is_here) - past);
  for (uint32 i = 0; i < past_count; i++) {
    past[i].utility /= 2;
    if (past[i].utility > kNextToNothing && count < shmem::kMostHeats) to->heats[count++] = past[i];
  }
  shmem::SetPastHeats(past, past_count);
  std::sort(to->heats, to->heats + count,
            [](const shmem::IndexHeat& a, const shmem::IndexHeat& b) { return a.utility > b.utility; });
  to->count = count;
}

void WriteHeatFile() {
  Heats all;
  Collect(&all);
  WriteStateFile(kFile, {reinterpret_cast<const char*>(all.heats), all.count * sizeof(shmem::IndexHeat)});
}

void ReadHeatFile() {
  shmem::IndexHeat heats[shmem::kMostHeats];
  const base::Span<const char> content = ReadStateFile(kFile, sizeof heats);
  std::memcpy(heats, content.data(), content.size());
  shmem::SetPastHeats(heats, static_cast<uint32>(content.size() / sizeof(shmem::IndexHeat)));
}

/// What filters were asked for comes first: it is small, and cannot be had from anywhere else.
void WriteFiles() {
  WriteFilterFile();
  WriteHeatFile();
}

bool IsWanted() {
  return shmem::FramesExist() && pg::CurrentSettings().persistence_interval_s > 0;
}

/// Not after an error or a crash: what is in shared memory may be anything then.
void WriteAtEnd(int /*code*/, Datum /*unused*/) {
  if (ShutdownRequestPending && IsWanted()) WriteFiles();
}

TimestampTz last_at;

TimestampTz NextWrite() {
  return TimestampTzPlusMilliseconds(last_at,
                                     pg::CurrentSettings().persistence_interval_s * INT64CONST(1000));
}

}  // namespace

void BeginHeatFile() {
  last_at = GetCurrentTimestamp();
  if (!shmem::FramesExist()) return;
  if (!shmem::HasPastHeats()) ReadHeatFile();
  before_shmem_exit(WriteAtEnd, 0);
}

TimestampTz WriteHeatFileIfDue() {
  static bool is_removed = false;
  if (!IsWanted()) {
    if (!is_removed) RemoveFilterFile();
    is_removed = true;
    return kNever;
  }
  is_removed = false;
  if (GetCurrentTimestamp() < NextWrite()) return NextWrite();
  WriteFiles();
  last_at = GetCurrentTimestamp();
  return NextWrite();
}

}  // namespace tandem::worker
