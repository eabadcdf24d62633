/* $NAME: a logic network as a circuit of $GATES gates. C99, needs nothing else; written by a program.
 *
 * A frame is $FEATURES values, $CHANNELS x $HEIGHT x $WIDTH in this order, which become $BITS bits:
 * bit l * $FEATURES + f is whether value f is at least threshold l, see ${NAME}_encode.$STATE_TEXT
 * The score of a class is the number of its outputs that are 1; the answer is the first class with the highest score.
 * A call takes $STACK bytes of stack. Functions keep nothing between calls and may run side by side.
 */

#ifndef ${NAME}_H
#define ${NAME}_H

#include <stddef.h>
#include <stdint.h>

#define ${NAME}_FEATURES $FEATURES
#define ${NAME}_BITS $BITS
#define ${NAME}_BYTES $BYTES /* of the bits of a frame: bit i is bit i % 8, from the lowest, of byte i / 8 */
#define ${NAME}_CLASSES $CLASSES
#define ${NAME}_STATE $STATE

extern const char *const ${NAME}_class_names[${NAME}_CLASSES];

/* Counts of a frame to its bits. */
void ${NAME}_encode(const uint8_t counts[${NAME}_FEATURES], uint8_t bits[${NAME}_BYTES]);

/* One frame: its scores, and as result its answer.$STATE_ARGUMENT_TEXT */
int ${NAME}_one(const uint8_t bits[${NAME}_BYTES]$STATE_PARAMETER, uint32_t scores[${NAME}_CLASSES]);

/* 64 frames: bit s of inputs[i] is bit i of frame s; scores[s * CLASSES + k] is that of class k. */
void ${NAME}_64(const uint64_t inputs[${NAME}_BITS]$STATE_PARAMETER, uint32_t scores[64 * ${NAME}_CLASSES]);
$BATCH_DECLARATION
#endif
