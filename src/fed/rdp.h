/* What a Gaussian mechanism on a random sample of clients costs: Renyi differential privacy.
 *
 * One round: every client takes part independently with probability q; the sum of vectors of norm
 * at most C is released with Gaussian noise of standard deviation z C in every coordinate.  Two
 * sets of clients are neighbours when one has one client more.
 *
 * Sources: Mironov, Talwar, Zhang 2019 (arXiv 1908.10530), section 3.3, for the moments; Balle et
 * al. 2020 (arXiv 1905.09982), theorem 21, for the conversion.
 */
#ifndef FL_FED_RDP_H
#define FL_FED_RDP_H

#include <stdint.h>

/* RDP of one round at order alpha > 1, q in [0, 1], z > 0.  Not for other ways to choose clients,
 * such as a fixed number of them. */
double fl_rdp_round(double q, double z, double alpha);

/* The orders over which epsilon is the least: 1.1 to 10.9 by 0.1, 12 to 63, 128, 256, 512. */
enum { FL_RDP_ORDERS = 154 };

typedef struct fl_rdp {
    double delta;
    double order[FL_RDP_ORDERS], round[FL_RDP_ORDERS]; /* fl_rdp_round of each order */
} fl_rdp;

/* delta in (0, 1).  Takes some milliseconds. */
void fl_rdp_init(fl_rdp *out, double q, double z, double delta);
/* The epsilon for which `rounds` rounds are (epsilon, delta)-private; 0 for none. */
double fl_rdp_epsilon(const fl_rdp *rdp, int64_t rounds);
/* The most rounds, up to `limit`, whose epsilon is at most `budget`. */
int64_t fl_rdp_rounds_within(const fl_rdp *rdp, double budget, int64_t limit);

#endif
