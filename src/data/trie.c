/* Edges in one hash table, because most nodes have one child and arrays of 256 would be empty.  A
 * key holds 24 bits of node and 8 of byte, which limits the nodes. */
#include "data/trie.h"
#include "base/mem.h"

enum { MAX_NODES = 1 << 24, FIRST_SLOTS = 64 };

void fl_trie_fini(fl_trie *trie)
{
    fl_free(trie->edges);
    fl_free(trie->values);
    *trie = (fl_trie){0};
}

static void put_edge(fl_trie_edge *edges, size_t num_slots, fl_trie_edge edge)
{
    size_t slot = (edge.key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (num_slots - 1);
    while (edges[slot].child != 0)
        slot = (slot + 1) & (num_slots - 1);
    edges[slot] = edge;
}

/* Room for one more edge. */
static fl_status grow_edges(fl_trie *trie)
{
    if (2 * (trie->num_nodes + 1) <= trie->num_slots) return FL_OK;
    const size_t num_slots = trie->num_slots ? 2 * trie->num_slots : FIRST_SLOTS;
    fl_trie_edge *edges;
    FL_TRY(fl_alloc(&edges, num_slots, sizeof *edges));
    for (size_t i = 0; i < trie->num_slots; i++)
        if (trie->edges[i].child != 0) put_edge(edges, num_slots, trie->edges[i]);
    fl_free(trie->edges);
    trie->edges = edges;
    trie->num_slots = num_slots;
    return FL_OK;
}

static fl_status add_node(fl_trie *trie, uint32_t *out)
{
    FL_CHECK(trie->num_nodes < MAX_NODES, FL_ERR_UNSUPPORTED,
             "more than %d bytes of different tokens are not supported", MAX_NODES);
    FL_TRY(
        fl_grow(&trie->values, &trie->value_capacity, trie->num_nodes + 1, sizeof *trie->values));
    *out = (uint32_t)trie->num_nodes;
    trie->values[trie->num_nodes++] = -1;
    return FL_OK;
}

fl_status fl_trie_put(fl_trie *trie, const char *text, size_t length, int32_t value)
{
    uint32_t node = 0;
    if (trie->num_nodes == 0) FL_TRY(add_node(trie, &node));
    for (size_t i = 0; i < length; i++) {
        uint32_t next = fl_trie_step(trie, node, text[i]);
        if (next == 0) {
            FL_TRY(grow_edges(trie));
            FL_TRY(add_node(trie, &next));
            put_edge(trie->edges, trie->num_slots,
                     (fl_trie_edge){node << 8 | (unsigned char)text[i], next});
        }
        node = next;
    }
    trie->values[node] = value;
    return FL_OK;
}
