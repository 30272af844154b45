# Stock TF Serving for nodes with a GPU. The index rides in the model as stock operations, so
# nothing is added; the stock script of the image, which knows one model only, is left out.
ARG TF_SERVING=2.16.1-gpu
FROM tensorflow/serving:${TF_SERVING}
EXPOSE 8500 8501
USER 10001:10001
ENTRYPOINT ["/usr/bin/tensorflow_model_server"]
