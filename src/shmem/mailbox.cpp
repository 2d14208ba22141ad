#include "pg/compat.hpp"

#include "shmem/mailbox.hpp"

namespace tandem::shmem {

void RegisterMailbox() {}

bool MailboxExists() {
  return false;
}

void NotifyAppend(Oid /*index*/, bool /*urgent*/) {}

void NotifyWork(Oid /*database*/) {}

void RequestFold(Oid /*index*/, uint64 /*rows*/) {}

void EvictWorkers(Oid /*database*/) {}

void AllowDatabase(Oid /*database*/) {}

bool ReadBuildStatus(Oid /*index*/, BuildStatus* /*status*/) {
  return false;
}

void ReportBuildStart(Oid /*index*/, uint64 /*rows_total*/) {}

void ReportBuildProgress(Oid /*index*/, uint32 /*phase*/, uint64 /*rows_done*/, uint64 /*rows_total*/) {}

void ReportBuildEnd(Oid /*index*/, bool /*published*/, bool /*sealed_everything*/) {}

void ReportBuildError(Oid /*index*/, const char* /*message*/) {}

uint64 RequestedFold(Oid /*index*/) {
  return 0;
}

bool WorkerAvailable() {
  return false;
}

}  // namespace tandem::shmem
