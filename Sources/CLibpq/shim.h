/* libpq, for the agent's connection settings and for Deploy's queries; never on the data path. */
#ifndef PGSHARE_CLIBPQ_SHIM_H
#define PGSHARE_CLIBPQ_SHIM_H
#include <libpq-fe.h>
#endif
