/* Frames to messages, payloads to signals: the inner loops of bms_can.columnar.decode.
 *
 * Called like kernel_text.c. Compile with -ffp-contract=off: a fused multiply-add would not be,
 * bit for bit, what Python computes.
 */
#include <stdint.h>
#include <string.h>

#define CLASSICAL 8
#define BLOCK 512 /* frames whose words stay in the first-level cache */

#ifndef SOURCE_HASH
#define SOURCE_HASH "unknown"
#endif

/* What this was compiled from. */
const char *bms_source(void) { return SOURCE_HASH; }

static uint64_t load(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

struct ids { /* open addressing by id; `number` -1: free */
    const uint32_t *key;
    const int32_t *number;
    int64_t shift, mask; /* of the multiplicative hash */
    const uint8_t (*fits)[256]; /* whether a message's frame may be so long */
    int64_t messages;
};

static int32_t number_of(const struct ids *ids, uint32_t key) {
    uint32_t at = (uint32_t)(key * 2654435769u) >> ids->shift;
    for (;; at = (at + 1) & (uint32_t)ids->mask)
        if (ids->number[at] < 0 || ids->key[at] == key)
            return ids->number[at];
}

/* Group rows: counts[2m] frames of message m, then counts[2m + 1] that have another length, in
 * order. `bucket` has room for n; returns how many rows were grouped. */
int64_t bms_group(const uint32_t *can_id, const uint8_t *extended, const uint8_t *length, int64_t n,
                  const struct ids *ids, int32_t *bucket, int64_t *counts, int64_t *rows) {
    int64_t buckets = 2 * ids->messages, total = 0;
    memset(counts, 0, (size_t)buckets * sizeof *counts);
    for (int64_t row = 0; row < n; row++) {
        int32_t found = number_of(ids, can_id[row] | (uint32_t)extended[row] << 31);
        if (found >= 0) {
            found = 2 * found + !ids->fits[found][length[row]];
            counts[found]++;
        }
        bucket[row] = found;
    }
    for (int64_t each = 0; each < buckets; each++) { /* counts become starts ... */
        int64_t count = counts[each];
        counts[each] = total;
        total += count;
    }
    for (int64_t row = 0; row < n; row++)
        if (bucket[row] >= 0)
            rows[counts[bucket[row]]++] = row;
    for (int64_t each = buckets - 1; each > 0; each--) /* ... and ends, and counts again */
        counts[each] -= counts[each - 1];
    return total;
}

enum how { SAME, INTEGER, REAL, REAL_UNSIGNED, IEEE32, IEEE64 };
enum type { U1, I1, U2, I2, U4, I4, U8, I8, F8 };

struct field {
    uint64_t mask, sign;
    uint64_t whole_factor, whole_offset; /* two's complement */
    double factor, offset;
    int64_t byte;  /* where to load eight bytes from */
    int64_t shift; /* to the right; negative: to the left, the rest is in the ninth byte */
    int64_t little, ninth;
    int64_t how, type;
    int64_t place; /* bytes a row of the fields before this one */
};

/* Where a word has to be put together row by row: `words` are then shifted already. */
static void words_of(const uint8_t *data, int64_t width, const int64_t *rows, int64_t count,
                     const struct field *field, uint64_t *words) {
    int64_t shift = field->shift;
    for (int64_t each = 0; each < count; each++) {
        const uint8_t *at = data + rows[each] * width + field->byte;
        uint64_t word = load(at);
        if (!field->little)
            word = __builtin_bswap64(word);
        if (!field->ninth)
            word >>= shift;
        else if (field->little)
            word = word >> shift | (uint64_t)at[8] << (64 - shift);
        else
            word = word << -shift | at[8] >> (8 + shift);
        words[each] = word;
    }
}

#define EACH(TYPE, VALUE)                                                                          \
    do {                                                                                           \
        TYPE *restrict to = out;                                                                   \
        for (int64_t each = 0; each < count; each++) {                                             \
            uint64_t raw = ((words[each] >> shift & mask) ^ sign) - sign;                          \
            to[each] = (TYPE)(VALUE);                                                              \
        }                                                                                          \
    } while (0)

static void store_integers(const uint64_t *restrict words, int64_t count,
                           const struct field *field, int64_t shift, void *out) {
    uint64_t mask = field->mask, sign = field->sign;
    uint64_t factor = field->whole_factor, offset = field->whole_offset;
    switch (field->type) {
    case U1: case I1: EACH(uint8_t, raw * factor + offset); break;
    case U2: case I2: EACH(uint16_t, raw * factor + offset); break;
    case U4: case I4: EACH(uint32_t, raw * factor + offset); break;
    default: EACH(uint64_t, raw * factor + offset); break;
    }
}

static void store_same(const uint64_t *restrict words, int64_t count, const struct field *field,
                       int64_t shift, void *out) {
    uint64_t mask = field->mask, sign = field->sign;
    switch (field->type) {
    case U1: case I1: EACH(uint8_t, raw); break;
    case U2: case I2: EACH(uint16_t, raw); break;
    case U4: case I4: EACH(uint32_t, raw); break;
    default: EACH(uint64_t, raw); break;
    }
}

static void store_reals(const uint64_t *restrict words, int64_t count, const struct field *field,
                        int64_t shift, void *out) {
    uint64_t mask = field->mask, sign = field->sign;
    double factor = field->factor, offset = field->offset;
    if (mask <= INT32_MAX)
        EACH(double, (double)(int32_t)raw * factor + offset); /* a cheaper instruction */
    else if (field->how == REAL)
        EACH(double, (double)(int64_t)raw * factor + offset);
    else
        EACH(double, (double)raw * factor + offset);
}

static double ieee(const struct field *field, uint64_t bits) {
    double value;
    if (field->how == IEEE32) {
        uint32_t half = (uint32_t)bits;
        float narrow;
        memcpy(&narrow, &half, sizeof narrow);
        return (double)narrow;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void store_ieee(const uint64_t *restrict words, int64_t count, const struct field *field,
                       int64_t shift, void *out) {
    uint64_t mask = field->mask, sign = 0;
    double factor = field->factor, offset = field->offset;
    if (factor == 1 && offset == 0) /* not even a zero's sign may change */
        EACH(double, ieee(field, raw));
    else
        EACH(double, ieee(field, raw) * factor + offset);
}

static void store(const uint64_t *words, int64_t count, const struct field *field, int64_t shift,
                  uint8_t *out) {
    switch (field->how) {
    case SAME: store_same(words, count, field, shift, out); break;
    case INTEGER: store_integers(words, count, field, shift, out); break;
    case REAL: case REAL_UNSIGNED: store_reals(words, count, field, shift, out); break;
    default: store_ieee(words, count, field, shift, out); break;
    }
}

static const int64_t SIZES[] = {1, 1, 2, 2, 4, 4, 8, 8, 8}; /* by enum type */

/* Decode `fields` of the frames `rows`: that at `place` into the array at out + place * count. */
void bms_decode(const uint8_t *data, int64_t width, const int64_t *rows, int64_t count,
                const struct field *fields, int64_t number, uint8_t *out) {
    uint64_t little[BLOCK], big[BLOCK], words[BLOCK];
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t size = count - first < BLOCK ? count - first : BLOCK;
        for (int64_t each = 0; width == CLASSICAL && each < size; each++) {
            little[each] = load(data + rows[first + each] * CLASSICAL);
            big[each] = __builtin_bswap64(little[each]);
        }
        for (const struct field *field = fields; field < fields + number; field++) {
            uint8_t *to = out + field->place * count + first * SIZES[field->type];
            if (width == CLASSICAL) {
                store(field->little ? little : big, size, field, field->shift, to);
            } else {
                words_of(data, width, rows + first, size, field, words);
                store(words, size, field, 0, to);
            }
        }
    }
}
