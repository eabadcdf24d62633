/* What the network and the batch are, and how the gradients of a batch are scaled where halves hold them. */

enum { INPUT_FLOAT, INPUT_BYTES, INPUT_BITS };

/* Mirrored field by field in cpu.py; every pointer is to contiguous memory that outlives the call. */
struct plan {
    int64_t variant, threads, batch, in_features, layers, classes, input_kind, straight, half;
    float tau, inverse_temperature;
    const int64_t *widths;        /* [layers] */
    const int32_t *const *wiring; /* [layers] -> [4, width + AHEAD]: a; b; both again, with the sign bit set where a
                                     mention of an input is its first, a of a neuron before its b; AHEAD zeros each */
    const uint8_t *sparse;         /* [layers]: whether the layer leaves some of its inputs out */
    const float *const *logits;   /* [layers] -> [width, 16], or 0 where coefficients are given; `straight`: forward is
                                     the likeliest gate, backward that of the softmax */
    float *coefficients;          /* [all neurons, 4]: computed by forward from logits, else given */
    float *norms;                 /* [all neurons, 2], with logits only */
    const void *input;            /* [batch, in_features]: float, bytes or bits (little order, rows of whole bytes) */
    float *output;                /* forward: [batch, classes] */
    const float *grad_output;     /* backward: [batch, classes] */
    float *const *grad_logits;    /* backward: [layers] -> [width, 16], with logits */
    float *grad_coefficients;     /* backward: [all neurons, 4], without */
    float *grad_input;            /* backward: float [batch, in_features] or 0 */
};

/* Halves have all digits between 2^-14 and 2^16: the largest gradient of the output is brought below 2^6, and those of
 * each layer are expected to be of the size of the last one's. Powers of two, so floats would not notice. */
#define TOP_EXPONENT 6
#define MOST_EXPONENT 100

static float power_of_two(int exponent)
{
    return ldexpf(1, exponent > MOST_EXPONENT ? MOST_EXPONENT : exponent < -MOST_EXPONENT ? -MOST_EXPONENT : exponent);
}

/* Mean square of a layer's input gradients over that of its output gradients, were they independent and the inputs
 * evenly spread in 0 ... 1, where the mean of (c1 + c3 b)^2 is c1^2 + c1 c3 + c3^2 / 3. */
static float gain_of_layer(const float *c, int64_t neurons, int64_t inputs)
{
    float sum = 0;
    for (int64_t i = 0; i < neurons; i++, c += 4)
        sum += c[1] * (c[1] + c[3]) + c[2] * (c[2] + c[3]) + c[3] * c[3] * (2 / 3.0f);
    return sum / (float)inputs;
}

/* Whether frexpf has an exponent to give. */
static int is_positive(float x)
{
    return x > 0 && x < INFINITY;
}

/* scales [layers + 1]: what to multiply the gradients of the input and of each layer's output with. */
static void set_scales(const struct plan *p, float *scales)
{
    float most = 0, square = 1; /* mean square of a layer's gradients over that of the last one's: square 2^doubled */
    int top = TOP_EXPONENT, doubled = 0, exponent;
    for (int64_t l = 0; l <= p->layers; l++)
        scales[l] = 1;
    if (!p->half)
        return;
    for (int64_t i = 0; i < p->batch * p->classes; i++)
        most = fabsf(p->grad_output[i]) > most ? fabsf(p->grad_output[i]) : most;
    if (is_positive(most / p->tau)) {
        frexpf(most / p->tau, &exponent);
        top -= exponent;
    }
    const float *c = p->coefficients;
    for (int64_t l = 0; l < p->layers; l++)
        c += 4 * p->widths[l];
    scales[p->layers] = power_of_two(top);
    for (int64_t l = p->layers - 1; l >= 0; l--) {
        c -= 4 * p->widths[l];
        float gain = square * gain_of_layer(c, p->widths[l], l ? p->widths[l - 1] : p->in_features);
        if (is_positive(gain)) {
            square = frexpf(gain, &exponent);
            doubled += exponent;
        }
        scales[l] = power_of_two(top - doubled / 2);
    }
}
