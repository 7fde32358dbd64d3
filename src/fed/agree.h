/* All ranks leave together. */
#ifndef FL_FED_AGREE_H
#define FL_FED_AGREE_H

#include "comm/transport.h"

/* Collective.  FL_OK on every rank when it is FL_OK on all; otherwise, on every rank, the status
 * and text of the lowest rank that failed (with its number in front when there are several ranks).
 */
fl_status fl_agree(fl_transport *transport, fl_status mine);

#endif
