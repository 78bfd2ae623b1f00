/* The loops of _boxes.pyx that are worth a CPU's vector unit: plain C in a form that compilers turn into it.

   To be built with -O3, and with -ffp-contract=off: a product that is not rounded before it is added would make the
   results depend on the machine. */

#ifndef TRACKLIGHT_LANES_H
#define TRACKLIGHT_LANES_H

#include <stdint.h>
#include <stddef.h>
#include <math.h>
#include <string.h>

/* One wheel for all: glibc picks the widest of these builds that the machine has when the module is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#define INLINED static inline __attribute__((always_inline))
#else
#define WIDEST
#define INLINED static inline
#endif

/* Loops of this fixed length are what compilers turn into vector instructions, of whatever width. */
#define LANES 16

/* As a whole number of the same order; only NaN with a sign lies below. */
#define MINUS_INFINITY ((int32_t)-0x7f800001)

typedef struct { float cx, cy, w, h, confidence; int class_id; } Candidate;

/* Up to LANES kept boxes of one class, and the class's block before this one (-1: none). */
typedef struct { float left[LANES], top[LANES], right[LANES], bottom[LANES], area[LANES]; int used, before; } Block;

/* Which of n numbers, `stride` apart, are above a limit; their positions, ascending. */
WIDEST static ptrdiff_t find_above(const float *x, ptrdiff_t n, ptrdiff_t stride, float limit, uint32_t *found) {
    ptrdiff_t i = 0, k = 0;
    if (stride == 1)
        for (; i + 4 * LANES <= n; i += 4 * LANES) {
            int any = 0;
            for (int j = 0; j < 4 * LANES; j++) any |= x[i + j] > limit;
            if (any)
                for (ptrdiff_t j = i; j < i + 4 * LANES; j++) { found[k] = (uint32_t)j; k += x[j] > limit; }
        }
    for (; i < n; i++) { found[k] = (uint32_t)i; k += x[i * stride] > limit; }
    return k;
}

/* Position of the first largest of n numbers, and its value: NaN where one of them is, as in torch.max.
   Whole numbers of the same order, and no way out of a loop: that is what compilers do in lanes. */
WIDEST static int find_best(const float *x, int n, float *value) {
    int32_t bits, best = INT32_MIN, least = INT32_MAX;
    int first = n;
    float found;
    for (int i = 0; i < n; i++) {
        memcpy(&bits, x + i, sizeof bits);
        bits ^= (bits >> 31) & INT32_MAX;
        best = bits > best ? bits : best;
        least = bits < least ? bits : least;
    }
    best ^= (best >> 31) & INT32_MAX;
    memcpy(&found, &best, sizeof best);
    for (int i = 0; i < n; i++) {
        int at = x[i] == found ? i : n;
        first = at < first ? at : first;
    }
    *value = least < MINUS_INFINITY ? NAN : found;
    return first < n ? first : 0;
}

INLINED int overlaps(const Block *b, float left, float top, float right, float bottom, float area, float limit) {
    int any = 0;
    for (int j = 0; j < LANES; j++) {
        float width = (b->right[j] < right ? b->right[j] : right) - (b->left[j] > left ? b->left[j] : left);
        float height = (b->bottom[j] < bottom ? b->bottom[j] : bottom) - (b->top[j] > top ? b->top[j] : top);
        /* With the width at least 0 a negative height gives a negative area, which is no overlap either. */
        float shared = (width > 0 ? width : 0) * height;
        /* Not divided by the union: one comparison instead, and empty boxes need no special case. */
        any |= shared > limit * (b->area[j] + area - shared);
    }
    return any;
}

/* Greedy suppression within each class, best first, until `most` are kept.
   newest: per class, -1. blocks: room for `most`. kept_rows, kept_xyxy: room for `most`. */
WIDEST static ptrdiff_t keep_best(const Candidate *all, const uint32_t *order, ptrdiff_t n, float limit, int agnostic,
                                  ptrdiff_t most, int *newest, Block *blocks, uint32_t *kept_rows, float *kept_xyxy) {
    ptrdiff_t kept = 0;
    int n_blocks = 0;
    for (ptrdiff_t i = 0; i < n && kept < most; i++) {
        const Candidate *c = all + order[i];
        int *chain = newest + (agnostic ? 0 : c->class_id), any = 0;
        float half_w = c->w / 2, half_h = c->h / 2;
        float left = c->cx - half_w, top = c->cy - half_h, right = c->cx + half_w, bottom = c->cy + half_h;
        float area = (right - left) * (bottom - top);
        for (int at = *chain; at >= 0 && !any; at = blocks[at].before)
            any = overlaps(blocks + at, left, top, right, bottom, area, limit);
        if (any) continue;
        if (*chain < 0 || blocks[*chain].used == LANES) {
            Block *b = blocks + n_blocks;
            /* No box overlaps one of endless area. */
            for (int j = 0; j < LANES; j++) {
                b->left[j] = b->top[j] = b->right[j] = b->bottom[j] = 0;
                b->area[j] = INFINITY;
            }
            b->used = 0;
            b->before = *chain;
            *chain = n_blocks++;
        }
        Block *b = blocks + *chain;
        b->left[b->used] = kept_xyxy[4 * kept] = left;
        b->top[b->used] = kept_xyxy[4 * kept + 1] = top;
        b->right[b->used] = kept_xyxy[4 * kept + 2] = right;
        b->bottom[b->used] = kept_xyxy[4 * kept + 3] = bottom;
        b->area[b->used++] = area;
        kept_rows[kept++] = order[i];
    }
    return kept;
}

#endif
