# Stock TF Serving for nodes without a GPU; see serving_gpu.Dockerfile.
ARG TF_SERVING=2.16.1
FROM tensorflow/serving:${TF_SERVING}
EXPOSE 8500 8501
USER 10001:10001
ENTRYPOINT ["/usr/bin/tensorflow_model_server"]
