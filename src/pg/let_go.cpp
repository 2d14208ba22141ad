#include "pg/compat.hpp"

#include "pg/let_go.hpp"

extern "C" {
#include "access/xact.h"
#include "storage/ipc.h"
}

namespace tandem::pg {

namespace {

void LetGo(const void* holder, SubTransactionId since) {
  static_cast<const Holder*>(holder)->let_go(since);
}

void AtTransactionEvent(XactEvent event, void* holder) {
  switch (event) {
    case XACT_EVENT_COMMIT:
    case XACT_EVENT_PARALLEL_COMMIT:
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PARALLEL_ABORT:
    case XACT_EVENT_PREPARE:
      LetGo(holder, InvalidSubTransactionId);
      break;
    case XACT_EVENT_PRE_COMMIT:
    case XACT_EVENT_PARALLEL_PRE_COMMIT:
    case XACT_EVENT_PRE_PREPARE:
      break;
  }
}

void AtSubtransactionEvent(SubXactEvent event, SubTransactionId subtransaction, SubTransactionId /*parent*/,
                           void* holder) {
  if (event == SUBXACT_EVENT_ABORT_SUB) LetGo(holder, subtransaction);
}

void AtExit(int /*code*/, Datum holder) {
  LetGo(DatumGetPointer(holder), InvalidSubTransactionId);
}

}  // namespace

void WatchEnds(const Holder& holder) {
  auto* arg = const_cast<Holder*>(&holder);  // the server hands it back, and nobody writes to it
  RegisterXactCallback(AtTransactionEvent, arg);
  RegisterSubXactCallback(AtSubtransactionEvent, arg);
  before_shmem_exit(AtExit, PointerGetDatum(arg));
}

}  // namespace tandem::pg
